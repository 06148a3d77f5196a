// A Chromium that is there already, for the scripts that use a page as people do.

import path from "node:path";
import { createRequire } from "node:module";

// Nothing but the page is fetched; the sandbox of Chromium does not work for root.
const QUIET = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const PICTURE_TRIES = 3;
const PICTURE_PAUSE_MS = 500;
const PICTURE_TIMEOUT_MS = 15_000;

/** Starts CHROMIUM by the Playwright in that folder; `more` are further arguments for it. */
export function launch(playwright, chromium, more = []) {
  const { chromium: browsers } = createRequire(playwright + "/")("playwright-core");
  return browsers.launch({ executablePath: chromium, args: [...QUIET, ...more] });
}

/**
 * Leaves FOLDER/NAME.png. A picture illustrates and proves nothing: on a busy machine Chromium at
 * times cannot take one, and after a few tries that is said on stderr and fails no test.
 */
export async function picture(page, folder, name, options = {}) {
  const file = path.join(folder, `${name}.png`);
  for (let left = PICTURE_TRIES; left > 0; left--) {
    try {
      await page.screenshot({ timeout: PICTURE_TIMEOUT_MS, ...options, path: file });
      return;
    } catch (error) {
      const [why] = String(error).split("\n");
      console.error(`no picture ${name}, ${left - 1} more tries: ${why}`);
      await new Promise((resolve) => setTimeout(resolve, PICTURE_PAUSE_MS));
    }
  }
}
