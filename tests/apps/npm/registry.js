// An npm registry with one package, whose tarball it makes. Arguments: a directory for the tarball, a port.
const { execFileSync } = require("child_process");
const { createHash } = require("crypto");
const fs = require("fs");
const http = require("http");

const [directory, port] = process.argv.slice(2);
const described = { name: "hello-from-a-test", version: "1.2.3" };
fs.mkdirSync(`${directory}/package`);
fs.writeFileSync(`${directory}/package/package.json`, JSON.stringify(described));
execFileSync("tar", ["-czf", "package.tgz", "package"], { cwd: directory });
const tarball = fs.readFileSync(`${directory}/package.tgz`);

const document = JSON.stringify({
  name: described.name,
  "dist-tags": { latest: described.version },
  versions: {
    [described.version]: {
      ...described,
      dist: {
        // Absolute, as registries send it.
        tarball: `http://127.0.0.1:${port}/${described.name}/-/package.tgz`,
        shasum: createHash("sha1").update(tarball).digest("hex"),
      },
    },
  },
});

const server = http.createServer((request, response) => {
  console.log(request.url);
  if (request.url === `/${described.name}`) {
    response.setHeader("Content-Type", "application/json");
    response.setHeader("Cache-Control", "public, max-age=300");
    response.end(document);
  } else if (request.url.endsWith(".tgz")) {
    response.setHeader("Content-Type", "application/octet-stream");
    response.end(tarball);
  } else {
    response.statusCode = 404;
    response.end("{}");
  }
});
server.listen(Number(port), "127.0.0.1");
