import { Module } from "node:module";
import { dirname } from "node:path";

/**
 * What @pulumi/pulumi requires for programs that serialize functions. It takes half of the time that a program needs to
 * start (docs/performance.md), at every update, and nothing here serializes any.
 */
const seldomUsed = ["@npmcli/arborist", "typescript"];

/**
 * Has modules of @pulumi/pulumi loaded only when something of them is used. Takes effect for whatever is required later,
 * and nothing where it does not find them: then they are loaded at once, as ever.
 */
export function loadSeldomUsedLater(): void {
  const from = [dirname(require.resolve("@pulumi/pulumi/package.json"))];
  for (const name of seldomUsed) {
    const file = resolved(name, from);
    if (file !== undefined && require.cache[file] === undefined) standIn(file);
  }
}

function resolved(name: string, paths: string[]): string | undefined {
  try {
    return require.resolve(name, { paths });
  } catch {
    return undefined;
  }
}

/** Puts an entry into Node's cache of modules that loads the module at the first look at what it exports. */
function standIn(file: string): void {
  const module = new Module(file);
  const load = (): object => {
    if (require.cache[file] === module) delete require.cache[file];
    return require(file);
  };
  module.filename = file;
  module.loaded = true;
  module.exports = new Proxy(
    {},
    {
      // TypeScript's `import * as` asks this of whatever it imports, and copies what says no.
      get: (_, name) => name === "__esModule" || Reflect.get(load(), name),
      has: (_, name) => Reflect.has(load(), name),
    },
  );
  require.cache[file] = module;
}
