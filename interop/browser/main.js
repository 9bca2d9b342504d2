// Runs the checks: `PROGRAMS=target/debug node main.js`.

import { CHECK_LIMIT_MS, allChecks, closeAll, closeBrowser, openBrowser, within } from './harness.js';

// Importing a file puts its checks on the list; the order here is the order in which they run.
await import('./classroom.js');
await import('./chat.js');
await import('./spread.js');
await import('./amqp.js');

await openBrowser();
let passed = 0;
let failed = 0;
for (const { title, body } of allChecks()) {
  let problem = null;
  try {
    await within(CHECK_LIMIT_MS, body(), title);
  } catch (error) {
    problem = error;
  }
  try {
    await closeAll();
  } catch (error) {
    problem ??= error;
  }
  if (problem === null) {
    passed += 1;
    console.log(`ok    ${title}`);
  } else {
    failed += 1;
    console.log(`FAIL  ${title}: ${problem.message ?? problem}`);
    console.error(problem);
  }
}
await closeBrowser();
console.log(`${passed} passed, ${failed} failed`);
process.exit(passed > 0 && failed === 0 ? 0 : 1);
