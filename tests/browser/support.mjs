// A browser, and sample runs opened in it. `.ci/browser` says where both are.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { after, before } from "node:test";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const SAMPLES = resolve(process.env.SAMPLES ?? "target/ci/samples");
export const NAMES = ["complete", "partial", "failed", "empty", "smoke", "going-on", "hostile", "large"];
export const PHONE = { width: 390, height: 844 };
export const DESKTOP = { width: 1280, height: 900 };

export const read = (file) => readFileSync(resolve(SAMPLES, file), "utf8");

// A browser that asks the network for nothing by itself. CI is root, as which Chromium has no sandbox.
export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

let browser;

// Starts the browser for the tests of a file.
export function useBrowser() {
  before(async () => {
    browser = await launch();
  });
  after(() => browser.close());
}

// Opens a file, and keeps what must not be: `problems`. `t` is the test, which fails with them.
export async function open(t, file, { viewport = DESKTOP, colorScheme = "light", ...more } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, ...more });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const url = pathToFileURL(resolve(SAMPLES, file)).href;
  const problems = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`error: ${error}`));
  page.on("request", (request) => {
    if (request.url() !== url) problems.push(`request: ${request.url()}`);
  });
  await page.exposeFunction("violated", (directive) => problems.push(`policy: ${directive}`));
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      globalThis.violations.push(event.effectiveDirective);
      globalThis.violated(event.effectiveDirective);
    });
    // The script of the page ends before this event: what it made is in the next frame.
    document.addEventListener("DOMContentLoaded", () => {
      requestAnimationFrame(() => requestAnimationFrame(() => {
        globalThis.painted = performance.now();
      }));
    });
  });
  await page.goto(url);
  t.after(async () => {
    await context.close();
    assert.deepEqual(problems, []);
  });
  return { page, problems };
}

// What axe finds that keeps people from using a page.
export async function barriers(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  return violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
}

// By how much the page is wider than the window.
export const overhang = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

// The texts of one column of the table of buckets, from 1.
export const column = (page, number) => page.locator(`#rows td:nth-child(${number})`).allTextContents();

// The bytes of each row, as numbers.
export const bytes = (page) => page.locator("#rows td:nth-child(6)").evaluateAll((cells) =>
  cells.filter((cell) => cell.title).map((cell) => Number(cell.title.replace(/\D/g, ""))));
