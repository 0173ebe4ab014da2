// A GraphQL server with a query, a mutation and a field that fails. Argument: a port.
const http = require("http");
const { buildSchema } = require("graphql");
const { createHandler } = require("graphql-http/lib/use/http");

const schema = buildSchema(`
  type Query { name: String! made: Int! broken: String }
  type Mutation { rename(name: String!): String! }
`);

let name = "lamp";
// How often a query was executed: a response of the cache has an older number.
let made = 0;

const rootValue = {
  name: () => name,
  made: () => ++made,
  broken: () => {
    throw new Error("this field always fails");
  },
  rename: (values) => (name = values.name),
};

http.createServer(createHandler({ schema, rootValue })).listen(Number(process.argv[2]), "127.0.0.1");
