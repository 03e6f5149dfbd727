// Speaks over its standard input and output, as its argument says, and must
// then exit by itself.

import process from "node:process";
import { stdio } from "../../../src/transport/stdio.ts";

const duplex = stdio();
const mode = process.argv[2];
if (mode === "echo") {
  await duplex.readable.pipeTo(duplex.writable);
} else {
  const reader = duplex.readable.getReader();
  const writer = duplex.writable.getWriter();
  const { value } = await reader.read();
  await writer.write(value!);
  if (mode === "close") {
    await writer.close();
    await reader.cancel();
  } else {
    await writer.abort(new Error("enough"));
  }
}
