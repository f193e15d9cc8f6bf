// A visit to the page of the example at process.argv[2], in a real browser. Env
// PLAYWRIGHT is where playwright-core is, CHROMIUM the browser.
const { chromium } = require(process.env.PLAYWRIGHT);

const url = process.argv[2];
const wrong = [];

async function hire(page, name, laptop) {
  await page.goto(url);
  await page.click("text=Hire somebody");
  await page.fill("input[name=name]", name);
  await page.selectOption("select[name=laptop]", { index: laptop });
  await page.click("button:has-text('Hire')");
  await page.waitForSelector(`h1:has-text('${name}')`);
  await page.click("button:has-text('Pass')"); // once the page has refreshed itself
  await page.waitForSelector("text=is confirmed");
  await page.click("text=Back");
  await page.waitForSelector(`h1:has-text('${name}')`);
}

async function approve(page, name) {
  await page.goto(url);
  const mail = page.locator("#mails tr", { hasText: `that ${name} joins` });
  await mail.locator("a").click(); // waits until a refresh brings it
  await page.waitForSelector(`h1:has-text('May ${name} join?')`);
  const link = page.url();
  await page.click("button:has-text('Approve')");
  await page.waitForSelector(`text=${name} is approved`);
  await page.goto(link);
  await page.waitForSelector("h1:has-text('This has been answered before')");
}

async function becomes(page, name, forward, unwind) {
  await page.goto(url);
  await page.click(`#hires a:has-text('${name}')`);
  await page.waitForSelector(`#forward:has-text('${forward}')`);
  await page.waitForSelector(`#unwind:has-text('${unwind}')`);
}

(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    page.on("console", (m) => { if (m.type() === "error" && !m.text().includes("status of 4")) wrong.push(m.text()); });
    page.on("pageerror", (e) => wrong.push(String(e)));
    page.on("requestfailed", (r) => { if (r.failure().errorText !== "net::ERR_ABORTED") wrong.push(r.url() + " " + r.failure().errorText); });
    await hire(page, "Ada Lovelace", 0);
    await hire(page, "Bob Brown", 2);
    await approve(page, "Ada Lovelace");
    await approve(page, "Bob Brown");
    await becomes(page, "Ada Lovelace", "committed", "none");
    await becomes(page, "Bob Brown", "rejected", "complete");
    if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
    await page.goto(url);
    if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT + ".home.png", fullPage: true });
  } finally {
    await browser.close();
  }
  if (wrong.length > 0) throw new Error(wrong.join("\n"));
  console.log("visited");
})().catch((e) => { console.error(e); process.exit(1); });
