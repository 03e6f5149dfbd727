/**
 * A JSON-RPC id as its sender wrote it: numbers past 2^53 would not survive
 * being parsed.
 *
 * @module
 */

/** The text of an object's member `id`, for one whose parsed value is `id`. */
export function idText(id: unknown, object: string): string {
  if (id === undefined) return "null";
  if (typeof id !== "number" || Number.isSafeInteger(id)) {
    return JSON.stringify(id);
  }
  return numberText(object) ?? String(id);
}

/** The number that the last own member `id` of an object has. */
function numberText(object: string): string | undefined {
  let found: string | undefined;
  let depth = 0;
  // Strings, with a colon where they are names; brackets; all else between.
  const token = /"(?:[^"\\]|\\.)*"(\s*:\s*)?|[{}[\]]/gs;
  for (const match of object.matchAll(token)) {
    const [text] = match;
    if (text === "{" || text === "[") depth++;
    else if (text === "}" || text === "]") depth--;
    else if (depth === 1 && match[1] !== undefined && isId(text)) {
      const rest = object.slice(match.index + text.length);
      found = /^[-+.\deE]+/.exec(rest)?.[0];
    }
  }
  return found;
}

function isId(name: string): boolean {
  return JSON.parse(name.slice(0, name.lastIndexOf('"') + 1)) === "id";
}
