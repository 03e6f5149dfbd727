/**
 * Finds which globals, members and options of the platform a program uses, by
 * TypeScript's types: whatever is declared in the compiler's own libraries is the
 * platform's.
 *
 * It does not see what the program reaches through a type of its own, as in
 * `(globalThis as { Deno?: … }).Deno`. Those are the places that expect a
 * feature to be missing.
 *
 * @module
 */

import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { ROOT } from "../process.ts";

/** Loads a module of one of the packages, which are installed on first use. */
export const load: NodeJS.Require = createRequire(
  join(ROOT, "tools/browsers/package.json"),
);

/** Where a program uses what the compiler's libraries declare, by name: `.Promise`, `Array.at`, `PromiseConstructor.withResolvers`. */
export type Uses = Map<string, string[]>;

// The parts of the compiler that are used: its types are not there until it is installed.

interface Node {
  readonly parent: Node;
  readonly name?: Node;
  readonly propertyName?: Node;
  readonly text?: string;
  readonly expression?: Node;
  readonly awaitModifier?: Node;
  readonly properties?: readonly Node[];
  getSourceFile(): SourceFile;
  getStart(): number;
  getText(): string;
}

interface SourceFile extends Node {
  readonly fileName: string;
  getLineAndCharacterOfPosition(at: number): { line: number };
}

interface Symbol {
  readonly escapedName: string;
  readonly declarations?: readonly Node[];
}

interface Type {
  readonly types?: readonly Type[];
  isUnion(): boolean;
}

/** Everything that the program of these files uses, in the files of the repository. */
export function findUses(files: readonly string[]): Uses {
  const ts = load("typescript");
  const program = ts.createProgram(files.map((file) => join(ROOT, file)), {
    target: ts.ScriptTarget.ESNext,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ["esnext", "dom", "dom.iterable", "dom.asynciterable"]
      .map((name) => `lib.${name}.d.ts`),
    types: [],
    allowImportingTsExtensions: true,
    noEmit: true,
    strict: true,
  });
  const [fault] = ts.getPreEmitDiagnostics(program);
  if (fault !== undefined) {
    const text = ts.flattenDiagnosticMessageText(fault.messageText, "\n");
    throw new Error(
      `Cannot find the features: ${fault.file?.fileName}: ${text}`,
    );
  }
  const finder = new Finder(ts, program);
  for (const file of program.getSourceFiles()) {
    if (!program.isSourceFileDefaultLibrary(file)) finder.visit(file);
  }
  return finder.uses;
}

class Finder {
  readonly uses: Uses = new Map();
  // deno-lint-ignore no-explicit-any -- The compiler's types are not installed.
  readonly #ts: any;
  // deno-lint-ignore no-explicit-any
  readonly #program: any;
  // deno-lint-ignore no-explicit-any
  readonly #checker: any;

  // deno-lint-ignore no-explicit-any
  constructor(ts: any, program: any) {
    this.#ts = ts;
    this.#program = program;
    this.#checker = program.getTypeChecker();
  }

  /** Visits a node, unless it is of types alone. */
  visit(node: Node): void {
    const ts = this.#ts;
    const typeOnly =
      ts.isTypeNode(node) && !ts.isExpressionWithTypeArguments(node) ||
      ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node) ||
      ts.isImportDeclaration(node) || ts.isExportDeclaration(node);
    if (typeOnly) return;
    if (ts.isIdentifier(node)) this.#identifier(node);
    else if (ts.isBindingElement(node)) this.#binding(node);
    else if (ts.isObjectLiteralExpression(node)) this.#options(node);
    else if (ts.isForOfStatement(node) || ts.isSpreadElement(node)) {
      this.#iteration(node);
    }
    ts.forEachChild(node, (child: Node) => this.visit(child));
  }

  /** A global, or the member of `a.member`. */
  #identifier(node: Node): void {
    const ts = this.#ts;
    const { parent } = node;
    if (ts.isShorthandPropertyAssignment(parent)) {
      return this.#use(
        this.#checker.getShorthandAssignmentValueSymbol(parent),
        node,
      );
    }
    const declares = parent.name === node &&
      !ts.isPropertyAccessExpression(parent);
    if (!declares) this.#use(this.#checker.getSymbolAtLocation(node), node);
  }

  /** `const { member } = value`. */
  #binding(node: Node): void {
    if (!this.#ts.isObjectBindingPattern(node.parent)) return;
    const { text } = node.propertyName ?? node.name!;
    if (text !== undefined) {
      this.#member(this.#checker.getTypeAtLocation(node.parent), text, node);
    }
  }

  /** `{ option: value }`, where the type of a parameter says what it means. */
  #options(node: Node): void {
    const type = this.#checker.getContextualType(node);
    for (const { name } of node.properties ?? []) {
      if (type && name?.text !== undefined) this.#member(type, name.text, name);
    }
  }

  /** `for (… of value)`, `for await (… of value)` and `...value`. */
  #iteration(node: Node): void {
    const method = node.awaitModifier ? "__@asyncIterator@" : "__@iterator@";
    const type = this.#checker.getTypeAtLocation(node.expression);
    for (const one of alternatives(type)) {
      const members = this.#checker.getPropertiesOfType(
        this.#checker.getApparentType(one),
      );
      const found = members.find((symbol: Symbol) =>
        symbol.escapedName.startsWith(method)
      );
      this.#use(found, node);
    }
  }

  #member(type: Type, name: string, node: Node): void {
    for (const one of alternatives(type)) {
      this.#use(this.#checker.getPropertyOfType(one, name), node);
    }
  }

  /** Notes the use of a symbol that the compiler's libraries declare. */
  #use(symbol: Symbol | undefined, node: Node): void {
    for (const declaration of symbol?.declarations ?? []) {
      const file = declaration.getSourceFile();
      if (!this.#program.isSourceFileDefaultLibrary(file)) continue;
      if (this.#ts.isTypeParameterDeclaration(declaration)) continue;
      const name = `${this.#owner(declaration)}.${declaration.name?.getText()}`;
      const places = this.uses.get(name) ?? [];
      this.uses.set(name, places);
      const place = placeOf(node);
      if (!places.includes(place)) places.push(place);
    }
  }

  /** The interface, namespace or variable that a member is declared in. */
  #owner({ parent }: Node): string {
    const ts = this.#ts;
    if (ts.isInterfaceDeclaration(parent)) return parent.name!.text!;
    if (ts.isModuleBlock(parent)) return parent.parent.name!.text!;
    // declare var AbortSignal: { any(…): … };
    const declared = ts.isTypeLiteralNode(parent) && parent.parent;
    if (declared && ts.isVariableDeclaration(declared)) {
      return `${declared.name!.text}Constructor`;
    }
    return "";
  }
}

function alternatives(type: Type): readonly Type[] {
  return type.isUnion() ? type.types! : [type];
}

function placeOf(node: Node): string {
  const file = node.getSourceFile();
  const { line } = file.getLineAndCharacterOfPosition(node.getStart());
  return `${relative(ROOT, file.fileName)}:${line + 1}`;
}
