// Has Apollo's generator for Swift read the schema and documents: node apollo.mjs SCHEMA FOLDER, code on standard output.
// It is the last one that Apollo wrote in JavaScript; their newer ones come as a Mac program and a Gradle plugin.
import { readdirSync, readFileSync } from "node:fs";
import compiler from "apollo-codegen-core/lib/compiler/index.js";
import swift from "apollo-codegen-swift";
import { buildSchema, concatAST, parse, validate } from "graphql";

const [, , schemaFile, folder] = process.argv;
const schema = buildSchema(readFileSync(schemaFile, "utf8"));
const documents = concatAST(readdirSync(folder).sort().map((name) => parse(readFileSync(`${folder}/${name}`, "utf8"))));
const problems = validate(schema, documents);
if (problems.length) throw problems[0];
const { output } = swift.generateSource(compiler.compileToIR(schema, documents, {}), false);
process.stdout.write(output);
