// Looks at the status page as people do: node page.mjs PLAYWRIGHT CHROMIUM PAGE PROXY FOLDER
//
// Leaves pictures in FOLDER and prints what is wrong, as a list in JSON.

import { launch, picture } from "../browser.mjs";

const [playwright, chromium, page_url, proxy, folder] = process.argv.slice(2);

const faults = [];
const check = (what, holds) => holds || faults.push(what);

// A stranger's name leads to this machine, as DNS rebinding has it.
const rebinding = "--host-resolver-rules=MAP rebound.example 127.0.0.1";
const browser = await launch(playwright, chromium, [rebinding]);

try {
  for (const scheme of ["light", "dark"]) {
    for (const [device, width, height] of [["desk", 1280, 900], ["phone", 375, 812]]) {
      await look(`${scheme}-${device}`, { colorScheme: scheme, viewport: { width, height } });
    }
  }
  await follow();
  await without_scripts();
  await from_elsewhere();
} catch (error) {
  faults.push(String(error));
} finally {
  await browser.close();
  console.log(JSON.stringify(faults));
}

/** A page that has everything said about it written down. */
async function open(name, options, prepare = async () => {}) {
  const context = await browser.newContext({ locale: "en-US", ...options });
  const page = await context.newPage();
  await prepare(page);
  page.setDefaultTimeout(30_000);
  page.on("console", (said) => {
    if (["error", "warning"].includes(said.type())) faults.push(`${name}: console: ${said.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`${name}: ${error}`));
  page.on("dialog", (dialog) => faults.push(`${name}: a dialog: ${dialog.message()}`));
  page.on("request", (request) => {
    const to = request.url();
    check(`${name}: a request to ${to}`, to.startsWith("data:") || to.startsWith(page_url));
  });
  const answer = await page.goto(page_url);
  check(`${name}: answered ${answer.status()}`, answer.status() === 200);
  return page;
}

async function look(name, options) {
  const page = await open(name, options);
  const text = await page.locator("body").innerText();
  for (const word of [
    "Ready", "role_missing", "signature_invalid", "audience_mismatch", "credential_missing",
    "[token]", "RS256", "airside explain", "docs/troubleshooting.md#role_missing", "Generation",
  ]) {
    // What is folded away is not part of the text.
    const there = text.includes(word) || (await page.locator("body").textContent()).includes(word);
    check(`${name}: no ${word}`, there);
  }
  check(`${name}: markup of a stranger`, (await page.title()) === "airside: ready");
  check(`${name}: an image of a stranger`, (await page.locator("img").count()) === 0);
  const columns = await page.locator("#traffic-hour-title ~ path[d^=M]").count();
  check(`${name}: nothing is plotted`, columns > 0);
  await page.locator("details summary").first().click();
  await picture(page, folder, name, { fullPage: true });
  for (const fault of await page.evaluate(examine)) faults.push(`${name}: ${fault}`);
  await page.context().close();
}

/** In the page: what does not fit, what cannot be read, what has no name. */
function examine() {
  const found = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    const wide = [...document.querySelectorAll("body *")].filter(
      (one) => one.getBoundingClientRect().right > root.clientWidth + 1 && !one.closest(".scroll"),
    );
    found.push(`wider than the window: ${wide.map((one) => one.outerHTML.slice(0, 80)).join(" | ")}`);
  }
  const numbers = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (colour) => {
    const linear = numbers(colour).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  // WCAG 2.2, 1.4.3: 4.5 to 1.
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (texts.nextNode()) {
    const one = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || one.closest("svg, script, style, noscript")) continue;
    const [front, back] = [getComputedStyle(one).color, ground(one)];
    const [high, low] = [luminance(front), luminance(back)].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    const what = `contrast ${contrast.toFixed(2)} of ${front} on ${back}: ${one.className || one.tagName}`;
    if (contrast < 4.5 && !seen.has(what)) found.push(what);
    seen.add(what);
  }
  // 1.4.11: 3 to 1 for what is drawn.
  for (const drawn of document.querySelectorAll(".legend rect, .gauge .left, .gauge .low")) {
    const [high, low] = [luminance(getComputedStyle(drawn).fill), luminance(ground(drawn))].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 3) found.push(`contrast ${contrast.toFixed(2)} of what is drawn as ${drawn.getAttribute("class")}`);
  }
  for (const svg of document.querySelectorAll("svg:not([aria-hidden])")) {
    const named = (svg.getAttribute("aria-labelledby") ?? "").split(" ");
    if (!named.every((id) => document.getElementById(id)?.textContent)) found.push("a plot without a name");
  }
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  if (new Set(ids).size !== ids.length) found.push("an id twice");
  const levels = [...document.querySelectorAll("h1, h2, h3")].map((one) => Number(one.tagName[1]));
  if (levels[0] !== 1 || levels.filter((level) => level === 1).length !== 1) found.push(`headings: ${levels}`);
  if ([...document.querySelectorAll("th")].some((one) => !one.scope)) found.push("a table header without scope");
  return found;
}

/** It stays current by itself, and what a person opened stays open. */
async function follow() {
  // Time passes when it is told to.
  const page = await open("follow", {}, (page) => page.clock.install());
  const opened = page.locator("#latest details").first();
  const key = await opened.getAttribute("data-key");
  await opened.locator("summary").click();
  const answer = await fetch(`${proxy}/api/v2/dags/just_now`);
  const id = answer.headers.get("x-request-id");
  await page.clock.runFor(10_000);
  await page.locator("#latest details[data-key]", { hasText: id }).first().waitFor({ state: "attached" });
  const before = page.locator(`details[data-key="${key}"]`);
  check("follow: what was opened is closed", await before.evaluate((one) => one.open));
  check("follow: the focus is lost", await before.evaluate((one) => one.contains(document.activeElement)));

  let asked = 0;
  await page.getByRole("button", { name: "Pause" }).click();
  page.on("request", () => asked++);
  await page.clock.runFor(60_000);
  check("follow: it does not pause", asked === 0);
  await page.getByRole("button", { name: "Resume" }).click();
  const again = page.waitForRequest(page_url + "/");
  await page.clock.runFor(10_000);
  await again;
  await page.context().close();
}

async function without_scripts() {
  const page = await open("without scripts", { javaScriptEnabled: false });
  check("without scripts: no heading", await page.getByRole("heading", { name: "Latest refusals" }).isVisible());
  check("without scripts: a button", !(await page.locator("#pause").isVisible()));
  await page.context().close();
}

/** What a page of somebody else can get at. */
async function from_elsewhere() {
  const page = await (await browser.newContext()).newPage();
  const port = new URL(page_url).port;
  const rebound = `http://rebound.example:${port}`;
  check("rebound: it answers", (await page.goto(rebound)).status() === 403);
  const stolen = await page.evaluate(async () => {
    const answer = await fetch("/status");
    return answer.status === 200 ? answer.text() : "";
  });
  check("rebound: it can be read", stolen === "");
  const across = await page.evaluate(
    (url) => fetch(`${url}/status`).then((answer) => answer.text(), () => ""), page_url,
  );
  check("elsewhere: it can be read", across === "");
  await page.evaluate((url) => {
    const frame = document.createElement("iframe");
    frame.src = url;
    document.body.append(frame);
    return new Promise((resolve) => frame.addEventListener("load", resolve));
  }, page_url);
  const shown = page.frames().filter((frame) => frame.url().startsWith(page_url));
  check("elsewhere: it can be framed", shown.length === 0);
  await page.context().close();
}
