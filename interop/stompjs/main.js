// Runs the checks against STOMP_WS_URL: `node main.js`.

import { WebSocket } from 'ws';

// Both libraries are for browsers and take this from there.
globalThis.WebSocket = WebSocket;

const { runChecks } = await import('../javascript/suite.js');
const { CHECK_LIMIT_MS } = await import('./harness.js');

// Importing a file puts its checks on the list; the order here is the order in which they run.
await import('./stomp.js');
await import('./amqp.js');

// Sockets that a failed check left behind must not keep the process.
process.exit(await runChecks({ limitMs: CHECK_LIMIT_MS }));
