// Runs the checks: `PROGRAMS=target/debug node main.js`.

import { runChecks } from '../javascript/suite.js';
import { CHECK_LIMIT_MS, closeBrowser, noTrouble, openBrowser } from './harness.js';

// Importing a file puts its checks on the list; the order here is the order in which they run.
import './classroom.js';
import './chat.js';
import './spread.js';
import './amqp.js';

await openBrowser();
const status = await runChecks({ limitMs: CHECK_LIMIT_MS, afterwards: noTrouble });
await closeBrowser();
process.exit(status);
