// Uses Airflow's interface as a person does: node ui.mjs PLAYWRIGHT CHROMIUM URL USER PASSWORD FOLDER
//
// Logs in by Airflow's own login, opens the DAG, triggers a run, reads its log, logs out. Leaves a
// picture of each step in FOLDER and prints what it saw, as JSON.

import { launch, picture } from "../browser.mjs";

const [playwright, chromium, url, user, password, folder] = process.argv.slice(2);
const browser = await launch(playwright, chromium);
const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, locale: "en-US" });
page.setDefaultTimeout(60_000);

const seen = { failures: [] };
page.on("response", (response) => {
  // A page that was left ends what it was loading; a server that fails says so.
  if (response.status() >= 500) seen.failures.push(`${response.status()} ${response.url()}`);
});

try {
  await login();
  await open();
  await trigger();
  await read();
  await logout();
} catch (error) {
  await picture(page, folder, "failed");
  seen.failures.push(String(error), page.url(), (await page.locator("body").innerText()).slice(0, 2000));
} finally {
  await browser.close();
  console.log(JSON.stringify(seen));
}

async function login() {
  await page.goto(`${url}/dags`);
  await page.getByLabel("Username").fill(user);
  await page.getByLabel("Password").fill(password);
  seen.asked_for_login_at = new URL(page.url()).pathname;
  await picture(page, folder, "1-login");
  await page.getByRole("button", { name: /sign in/i }).click();
  await page.waitForURL((at) => at.pathname === "/dags");
}

async function open() {
  await page.getByRole("link", { name: "demo", exact: true }).first().click();
  await page.waitForURL((at) => at.pathname.startsWith("/dags/demo"));
  await page.getByRole("heading", { name: "demo" }).or(page.getByText("Latest Dag Version")).first().waitFor();
  seen.opened = new URL(page.url()).pathname;
  await picture(page, folder, "2-dag");
}

async function trigger() {
  await page.getByRole("button", { name: /^trigger/i }).first().click();
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  await picture(page, folder, "3-trigger");
  const answered = page.waitForResponse(
    (response) => response.request().method() === "POST" && response.url().endsWith("/dagRuns"),
  );
  await dialog.getByRole("button", { name: /^trigger/i }).click();
  const run = await (await answered).json();
  seen.triggered_by = run.triggering_user_name;
  seen.run = run.dag_run_id;
}

async function read() {
  const run = encodeURIComponent(seen.run);
  const log = page.getByText("this is the log of the demo").first();
  for (const deadline = Date.now() + 120_000; !seen.read && Date.now() < deadline;) {
    await page.goto(`${url}/dags/demo/runs/${run}/tasks/x`);
    seen.read = await log.waitFor({ timeout: 10_000 }).then(() => log.innerText(), () => undefined);
  }
  await picture(page, folder, "4-log");
}

async function logout() {
  await page.getByRole("button", { name: /user/i }).first().click();
  await page.getByRole("menuitem", { name: /log ?out/i }).click();
  await page.getByRole("dialog").getByRole("button", { name: /confirm|log ?out/i }).first().click();
  await page.waitForURL((at) => at.pathname.startsWith("/auth/login"));
  await page.getByLabel("Username").waitFor();
  await picture(page, folder, "5-logged-out");
  await page.goto(`${url}/dags`);
  await page.getByLabel("Username").waitFor();
  seen.logged_out_at = new URL(page.url()).pathname;
}
