/// <reference lib="dom" />
/// <reference lib="dom.iterable" />

/**
 * The sliders: each chooses one of a row of values.
 *
 * @module
 */

import type { Settings } from "./run.ts";

interface Slider {
  readonly name: keyof Settings;
  readonly values: readonly number[];
  readonly start: number;
  readonly text: (value: number) => string;
}

const ms = (value: number) => `${value} ms`;
const whole = (value: number) => value.toLocaleString("en-US");

/** The sliders, in the order of the page. */
export const SLIDERS: readonly Slider[] = [
  {
    name: "rtt",
    values: [0, 1, 2, 5, 10, 20, 50, 100, 200, 500],
    start: 50,
    text: ms,
  },
  {
    name: "handler",
    values: [0, 1, 2, 5, 10, 20, 50, 100, 200],
    start: 10,
    text: ms,
  },
  {
    name: "calls",
    values: [20, 50, 100, 200, 500, 1000, 2000],
    start: 200,
    text: whole,
  },
  {
    name: "window",
    values: [1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
    start: 1024,
    text: (value) => value === 1 ? "1 call" : `${whole(value)} calls`,
  },
  {
    name: "payload",
    values: [16, 256, 1024, 4096, 16_384, 65_536],
    start: 16,
    text: (value) => value < 1024 ? `${value} B` : `${value / 1024} KiB`,
  },
];

/** The settings that the page starts with. */
export const DEFAULTS: Settings = Object.fromEntries(
  SLIDERS.map(({ name, start }) => [name, start]),
) as unknown as Settings;

/** Makes the sliders of the page work. `changed` is called when the user has moved one. */
export function makeSliders(
  inputOf: (name: string) => HTMLInputElement,
  changed: () => void,
): () => Settings {
  const chosen = new Map<string, number>();
  for (const { name, values, start, text } of SLIDERS) {
    const input = inputOf(name);
    const output = input.parentElement!.querySelector("output")!;
    input.min = "0";
    input.max = String(values.length - 1);
    input.step = "1";
    input.value = String(values.indexOf(start));
    const read = () => {
      const value = values[input.valueAsNumber];
      chosen.set(name, value);
      output.value = text(value);
      input.setAttribute("aria-valuetext", text(value));
    };
    read();
    input.addEventListener("input", () => {
      read();
      changed();
    });
  }
  return () => Object.fromEntries(chosen) as unknown as Settings;
}
