// Runs the checks against STOMP_WS_URL: `node main.js`.

import { WebSocket } from 'ws';

// Both libraries are for browsers and take this from there.
globalThis.WebSocket = WebSocket;

const { allChecks, within, CHECK_LIMIT_MS, closeAll } = await import('./harness.js');

// Importing a file puts its checks on the list; the order here is the order in which they run.
await import('./stomp.js');
await import('./amqp.js');

let passed = 0;
let failed = 0;
for (const { title, body } of allChecks()) {
  try {
    await within(CHECK_LIMIT_MS, body(), title);
    passed += 1;
    console.log(`ok    ${title}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${title}: ${error}`);
    console.error(error);
  } finally {
    await closeAll();
  }
}
console.log(`${passed} passed, ${failed} failed`);
// A suite without a check has failed. Sockets that a failed check left behind must not keep the process.
process.exit(passed > 0 && failed === 0 ? 0 : 1);
