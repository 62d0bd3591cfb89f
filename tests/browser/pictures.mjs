// Takes the pictures of the documents, see docs/pictures/make.

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { SAMPLES, launch } from "./support.mjs";

const [folder] = process.argv.slice(2);
const browser = await launch();

async function picture(file, name, viewport, work = async () => {}) {
  const page = await browser.newPage({ viewport, colorScheme: "light" });
  await page.goto(pathToFileURL(resolve(SAMPLES, file)).href);
  const clip = await work(page);
  await page.screenshot({ path: resolve(folder, name), clip: clip ?? undefined, fullPage: Boolean(clip) });
  await page.close();
}

// From the top of one element to the end of another.
const between = (page, first, last) => page.evaluate(([first, last]) => {
  const top = first ? document.querySelector(first).getBoundingClientRect().top + scrollY - 12 : 0;
  const end = document.querySelector(last).getBoundingClientRect().bottom + scrollY + 4;
  return { x: 0, y: top, width: innerWidth, height: end - top };
}, [first, last]);

await picture("partial.mail.html", "mail.png", { width: 660, height: 900 });
await picture("partial.page.html", "page.png", { width: 1200, height: 900 }, async (page) => {
  await page.locator(".finding", { hasText: "Possible secrets" }).locator("summary").first().click();
  await page.mouse.move(0, 0);
  return between(page, null, "#treemap");
});
await picture("partial.page.html", "buckets.png", { width: 1200, height: 900 }, async (page) => {
  await page.evaluate(() => document.querySelector(".top").remove());
  return between(page, "#buckets", "#rows tr:nth-child(12)");
});
await browser.close();
