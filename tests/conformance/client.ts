// A client of this library for the conformance suite: `client.ts HOST:PORT`
// connects, does what it is told, and exits when there is nothing left to do.

import process from "node:process";
import { connect } from "../../mod.ts";
import { drive } from "./driver.ts";

const [host, port] = process.argv[2].split(":");
const dial = () => connect({ host, port: Number(port) });
await drive(dial, { handshakeTimeout: 1500, maxStreams: 16 });
