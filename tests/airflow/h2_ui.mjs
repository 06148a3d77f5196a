// Airflow's interface over TLS and HTTP/2: node h2_ui.mjs PLAYWRIGHT CHROMIUM URL USER PASSWORD FOLDER
//
// Logs in by Airflow's own login and looks at the pages that ask for most. Prints which protocols
// Chromium spoke and what failed, as JSON.

import { launch, picture } from "../browser.mjs";

const [playwright, chromium, url, user, password, folder] = process.argv.slice(2);
const browser = await launch(playwright, chromium);
// The authority of the test is nobody's whom browsers know.
const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: "en-US" });
const page = await context.newPage();
page.setDefaultTimeout(60_000);

const seen = { failures: [], protocols: {} };
page.on("response", (response) => {
  if (response.status() >= 500) seen.failures.push(`${response.status()} ${response.url()}`);
});
const wire = await context.newCDPSession(page);
await wire.send("Network.enable");
wire.on("Network.responseReceived", ({ response }) => {
  // What Chromium answers itself (data:, its cache) has been counted, or is nothing of the network.
  if (!response.url.startsWith(url) || response.fromDiskCache) return;
  seen.protocols[response.protocol] = (seen.protocols[response.protocol] ?? 0) + 1;
});

try {
  await page.goto(`${url}/dags`);
  await page.getByLabel("Username").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: /sign in/i }).click();
  await page.waitForURL((at) => at.pathname === "/dags");
  for (const place of ["/dags", "/", "/assets"]) {
    await page.goto(`${url}${place}`, { waitUntil: "networkidle" });
  }
} catch (error) {
  await picture(page, folder, "h2-failed");
  seen.failures.push(String(error), page.url(), (await page.locator("body").innerText()).slice(0, 2000));
} finally {
  await browser.close();
  console.log(JSON.stringify(seen));
}
