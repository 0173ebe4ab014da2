// Sessions, ETags, and a check of where a form comes from. Argument: a port.
const express = require("express");
const session = require("express-session");

const app = express();
app.use(express.urlencoded({ extended: false }));
app.use(session({ secret: "a secret for tests", resave: false, saveUninitialized: false }));

// How often each path was made: a response of the cache has an older number.
const made = {};

const own = (request) => `${request.protocol}://${request.get("host")}`;

app.post("/login", (request, response) => {
  if (request.get("origin") !== own(request)) {
    return response.status(403).send("the form is on another site");
  }
  request.session.regenerate(() => {
    request.session.user = request.body.user;
    response.redirect(`${own(request)}/me`);
  });
});

app.post("/logout", (request, response) => {
  request.session.destroy(() => response.clearCookie("connect.sid").redirect("/"));
});

app.get("/", (request, response) => response.send("welcome"));

app.get("/me", (request, response) => {
  const user = request.session.user;
  if (!user) return response.status(401).send("nobody");
  made[user] = (made[user] || 0) + 1;
  response.json({ user, made: made[user] });
});

app.get("/news", (request, response) => {
  response.set("Cache-Control", "no-cache").json({ news: "none" });
});

app.listen(Number(process.argv[2]), "127.0.0.1");
