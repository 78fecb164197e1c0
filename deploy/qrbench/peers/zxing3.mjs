// zxing-cpp 3 as WebAssembly: node zxing3.mjs FOLDER, where FOLDER holds
// node_modules. In and out as frames.h says. Its times are WebAssembly's, and
// those of making a picture of four channels: its rate is what counts.
import { readFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const dist = path.join(path.resolve(process.argv[2]), "node_modules", "zxing-wasm", "dist");
const { prepareZXingModule, readBarcodes } = await import(pathToFileURL(path.join(dist, "es", "reader", "index.js")).href);
prepareZXingModule({ overrides: { wasmBinary: readFileSync(path.join(dist, "reader", "zxing_reader.wasm")) }, fireImmediately: true });

function load(file) {
  const bytes = readFileSync(file);
  const head = /^P5\s(\d+)\s(\d+)\s255\s/.exec(bytes.subarray(0, 40).toString("latin1"));
  if (!head) throw new Error(`no PGM: ${file}`);
  const [width, height] = [Number(head[1]), Number(head[2])];
  const grey = bytes.subarray(head[0].length);
  const data = new Uint8ClampedArray(4 * width * height);
  for (let i = 0; i < width * height; i++) {
    data[4 * i] = data[4 * i + 1] = data[4 * i + 2] = grey[i];
    data[4 * i + 3] = 255;
  }
  return { data, width, height, colorSpace: "srgb" };
}

const options = { formats: ["QRCode"], tryHarder: true, tryRotate: true, tryInvert: true, tryDownscale: true, maxNumberOfSymbols: 1 };
for await (const file of createInterface({ input: process.stdin })) {
  const picture = load(file);
  const [cpu, wall] = [process.cpuUsage(), process.hrtime.bigint()];
  const codes = (await readBarcodes(picture, options)).filter((c) => c.isValid);
  const spent = process.cpuUsage(cpu);
  const waited = Number(process.hrtime.bigint() - wall) / 1e6;
  const texts = codes.flatMap((c) => [Buffer.from(c.text), Buffer.from(c.bytes)]).map((b) => b.toString("base64"));
  process.stdout.write(["zxing-cpp-3", file, ((spent.user + spent.system) / 1000).toFixed(4), waited.toFixed(4), codes.length, texts.join(",")].join("\t") + "\n");
}
