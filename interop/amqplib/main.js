// Runs the amqplib suite against AMQP_URL: `node main.js`.

import { Broker } from './broker.js';
import { CHECK_LIMIT_MS, SOON_MS, allChecks, within } from './harness.js';

// Importing a file puts its checks on the list; the order here is the order in which they run.
import './checks/declaring.js';
import './checks/routing.js';
import './checks/publishing.js';
import './checks/consuming.js';
import './checks/settling.js';
import './checks/content.js';
import './checks/connecting.js';
import './checks/errors.js';

/** Run one check, then clean up after it. Returns the error that ended it, if any. */
async function run({ body, title }) {
  const broker = new Broker();
  const failures = [];
  const note = (error) => failures.push(error);
  await within(CHECK_LIMIT_MS, body(broker), title).catch(note);
  await within(SOON_MS, broker.cleanUp(), 'cleaning up').catch(note);
  return failures[0];
}

let passed = 0;
let failed = 0;
for (const entry of allChecks()) {
  const error = await run(entry);
  if (error) {
    failed += 1;
    console.log(`FAIL  ${entry.title}: ${error}`);
    console.error(error);
  } else {
    passed += 1;
    console.log(`ok    ${entry.title}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
// A suite without a check has failed. Sockets that a failed check left behind must not keep the process.
process.exit(passed > 0 && failed === 0 ? 0 : 1);
