// Runs the amqplib suite against AMQP_URL: `node main.js`.

import { atEnd, runChecks } from '../javascript/suite.js';
import { Broker } from './broker.js';
import { CHECK_LIMIT_MS } from './harness.js';

// Importing a file puts its checks on the list; the order here is the order in which they run.
import './checks/declaring.js';
import './checks/routing.js';
import './checks/publishing.js';
import './checks/consuming.js';
import './checks/settling.js';
import './checks/content.js';
import './checks/connecting.js';
import './checks/errors.js';

/** A broker for one check, cleaned up after it. */
function make() {
  const broker = new Broker();
  atEnd(() => broker.cleanUp());
  return broker;
}

// Sockets that a failed check left behind must not keep the process.
process.exit(await runChecks({ limitMs: CHECK_LIMIT_MS, make }));
