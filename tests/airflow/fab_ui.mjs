// Airflow's interface with FAB, through airside: node fab_ui.mjs PLAYWRIGHT CHROMIUM URL TOKEN FOLDER
//
// First as behind an ingress that knows who is calling and adds the token to every request; then as
// a person alone. Leaves pictures in FOLDER and prints what it saw, as JSON.

import { launch, picture } from "../browser.mjs";

const [playwright, chromium, url, token, folder] = process.argv.slice(2);
const browser = await launch(playwright, chromium);
const seen = { failures: [] };

try {
  await withToken();
  await alone();
} catch (error) {
  seen.failures.push(String(error));
} finally {
  await browser.close();
  console.log(JSON.stringify(seen));
}

async function context(headers) {
  const context = await browser.newContext({
    extraHTTPHeaders: headers, viewport: { width: 1280, height: 900 }, locale: "en-US",
  });
  context.setDefaultTimeout(60_000);
  return context;
}

async function withToken() {
  const person = await context({ Authorization: `Bearer ${token}` });
  const page = await person.newPage();
  page.on("response", (response) => {
    if (response.status() >= 500) seen.failures.push(`${response.status()} ${response.url()}`);
  });

  await page.goto(`${url}/dags`);
  await page.getByRole("link", { name: "demo", exact: true }).first().waitFor();
  seen.me = await page.evaluate(async () => (await fetch("ui/auth/me")).json());
  await picture(page, folder, "fab-1-dags");

  await page.goto(`${url}/dags/demo`);
  await page.getByRole("button", { name: /^trigger/i }).first().click();
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  const answered = page.waitForResponse(
    (response) => response.request().method() === "POST" && response.url().endsWith("/dagRuns"),
  );
  await dialog.getByRole("button", { name: /^trigger/i }).click();
  seen.triggered_by = (await (await answered).json()).triggering_user_name;
  await picture(page, folder, "fab-2-triggered");

  await page.goto(`${url}/api/v2/auth/login?next=${encodeURIComponent(`${url}/dags`)}`);
  seen.led_back_to = new URL(page.url()).pathname;
  seen.cookies = (await person.cookies()).map((cookie) => cookie.name).filter((name) => name === "_token");

  // A page of FAB's own, which knows its own session alone.
  seen.page_of_fab = await page.goto(`${url}/auth/users/list/`).then(
    (answer) => answer.status(), (error) => String(error).match(/ERR_\w+/)?.[0],
  );
  await picture(page, folder, "fab-3-page-of-fab");
}

async function alone() {
  const person = await context({});
  const page = await person.newPage();
  let requests = 0;
  page.on("request", (request) => requests += request.isNavigationRequest() ? 1 : 0);
  await page.goto(`${url}/dags`);
  await page.waitForURL((at) => at.pathname.startsWith("/auth/login"));
  await page.getByText("credential_missing").waitFor();
  // A loop would go round three times in a second.
  await page.waitForTimeout(3_000);
  seen.navigations_alone = requests;
  seen.alone = JSON.parse(await page.locator("body").innerText()).reason;
  await picture(page, folder, "fab-4-alone");
}
