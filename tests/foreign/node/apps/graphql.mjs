// GraphQL on PORT: queries by POST, subscriptions by graphql-ws, whose subprotocol is `graphql-transport-ws`.

import { createServer } from "node:http";
import { buildSchema, graphql } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";

const schema = buildSchema("type Query { hello(name: String!): String } type Subscription { count(to: Int!): Int }");
const roots = {
  query: { hello: ({ name }) => `hello ${name}` },
  subscription: {
    async *count({ to }) {
      for (let count = 1; count <= to; count++) yield { count };
    },
  },
};

const http = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  if (request.method !== "POST") return response.writeHead(405, { allow: "POST" }).end();
  const { query, variables } = JSON.parse(body);
  response.setHeader("content-type", "application/graphql-response+json");
  response.end(JSON.stringify(await graphql({ schema, source: query, variableValues: variables, rootValue: roots.query })));
});
const server = new WebSocketServer({ server: http, path: "/graphql" });
useServer({ schema, roots, onConnect: ({ connectionParams }) => connectionParams?.secret !== "wrong" }, server);
http.listen(Number(process.env.PORT), "127.0.0.1");
