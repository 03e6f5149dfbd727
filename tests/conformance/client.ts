// A client of this library for the conformance suite: `client.ts HOST:PORT`
// connects, follows the instructions, and exits when there are no more.

import process from "node:process";
import { connect } from "../../mod.ts";
import { drive } from "./driver.ts";

const [host, port] = process.argv[2].split(":");
const dial = () => connect({ host, port: Number(port) });
await drive(dial, { handshakeTimeout: 1500, maxStreams: 16 });
