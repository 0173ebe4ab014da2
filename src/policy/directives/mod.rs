//! What requests and responses say about caching: Cache-Control, `CDN-Cache-Control`, Expires and Pragma.

pub(super) mod cache_control;
pub(super) mod origin_directives;
pub(super) mod targeted;
