/**
 * What JSON's text tells and its parsed value does not: the numbers as they
 * were written.
 *
 * @module
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;

/**
 * Calls `tell` with each number of an object's text: the member of the object
 * that it stands in, how deep (1 where it is the member's value), and its own
 * text. The text must be JSON.
 */
function scanNumbers(
  object: string,
  tell: (member: string, depth: number, number: string) => void,
): void {
  let depth = 0;
  let member = "";
  for (let at = 0; at < object.length;) {
    const char = object[at];
    if (char === '"') {
      const end = endOfString(object, at);
      if (depth === 1 && isName(object, end)) {
        member = JSON.parse(object.slice(at, end)) as string;
      }
      at = end;
    } else if (char === "-" || isDigit(char)) {
      const start = at++;
      while (isNumeric(object[at])) at++;
      tell(member, depth, object.slice(start, at));
    } else {
      if (char === "{" || char === "[") depth++;
      else if (char === "}" || char === "]") depth--;
      at++;
    }
  }
}

function isDigit(char: string): boolean {
  return char >= "0" && char <= "9";
}

function isNumeric(char: string | undefined): boolean {
  return char !== undefined && (isDigit(char) || "+-.eE".includes(char));
}

function endOfString(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === BACKSLASH) i++;
    else if (code === QUOTE) return i + 1;
  }
  return text.length;
}

/** Whether a colon comes next. */
function isName(text: string, at: number): boolean {
  while (text.charCodeAt(at) <= 0x20) at++;
  return text.charCodeAt(at) === COLON;
}

/** The text of an object's member `id`, for one whose parsed value is `id`: numbers past 2^53 would not survive being parsed. */
export function idText(id: unknown, object: string): string {
  if (id === undefined) return "null";
  if (typeof id !== "number" || Number.isSafeInteger(id)) {
    return JSON.stringify(id);
  }
  let found: string | undefined;
  scanNumbers(object, (member, depth, number) => {
    if (depth === 1 && member === "id") found = number;
  });
  return found ?? String(id);
}

/**
 * A whole number in an object's text, its `id` aside, that JavaScript's numbers
 * would round; undefined if there is none.
 */
export function roundedInteger(object: string): string | undefined {
  if (!/\d{16}/.test(object)) return undefined;
  let found: string | undefined;
  scanNumbers(object, (member, depth, number) => {
    if (depth === 1 && member === "id") return;
    if (/^-?\d{16,}$/.test(number) && !isExact(number)) found ??= number;
  });
  return found;
}

function isExact(integer: string): boolean {
  const number = Number(integer);
  return Number.isFinite(number) && BigInt(integer) === BigInt(number);
}
