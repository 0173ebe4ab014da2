//! The examples of `--help`.

pub(super) const SHORT_EXAMPLES: &str = "\
Examples:
  caching-proxy --port 8000 --origin https://dummyjson.com
      Cache responses of dummyjson.com and serve them on http://localhost:8000
  caching-proxy why /products/1
      Say whether a request would be a hit or a miss, and why
  caching-proxy --clear-cache
      Empty the cache of every running caching-proxy

See `caching-proxy --help` for all options and exit codes.";

pub(super) const LONG_EXAMPLES: &str = "\
Examples:
  caching-proxy --port 8000 --origin https://dummyjson.com
      Cache responses of dummyjson.com and serve them on http://localhost:8000
  caching-proxy --clear-cache
      Empty the cache of every running caching-proxy of this user
  caching-proxy --clear-cache --port 8000
      Empty only the cache of the one on port 8000
  caching-proxy stats --watch
      Watch hits, misses with their reasons, and what was saved
  caching-proxy why /products/1
      Say whether a request would be a hit or a miss, and why
  caching-proxy --origin https://dummyjson.com --policy always --ttl 10m
      Cache responses for ten minutes, whatever the origin's headers say
  caching-proxy --origin https://localhost:8443 --origin-ca dev-cert.pem
      Trust the certificate of a development server

Every response carries X-Cache: HIT (the body came from the cache) or MISS (it did not),
and the details in Cache-Status.

Configuration:
  Each option except --clear-cache, --wait and --take-over can also be set by an environment
  variable (CACHING_PROXY_MAX_MEMORY for --max-memory) and, except --config, by a key in
  config/proxy.toml (max_memory). An option overrides the environment, the environment
  overrides the file. Rules for single paths ([[rules]]) exist only in the file.

Exit codes:
  0  success
  1  failed while running
  2  invalid option or configuration
  3  the port or the store is in use
  4  a running caching-proxy could not be reached";
