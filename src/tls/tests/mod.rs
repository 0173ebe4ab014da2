mod choosing;
mod fixture;
mod local;
mod reading;
mod sessions;
mod watching;
