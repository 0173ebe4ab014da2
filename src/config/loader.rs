//! Reads the configuration of a proxy, at its start and again for each reload.

use std::net::IpAddr;

use super::{BindAddress, Config, ConfigError, Flags, LoadConfig};

/// Reads the configuration of a proxy, and puts the addresses of its sockets into it: they stay the same over a reload, and
/// may be others than those that the configuration names.
#[derive(Clone, Debug)]
pub struct ConfigLoader {
    flags: Flags,
    load: LoadConfig,
    port: Option<Replacement<u16>>,
    bind: Option<Replacement<BindAddress>>,
    tls_port: Option<Replacement<u16>>,
}

/// A value of a socket, in the place of one in the configuration.
#[derive(Clone, Copy, Debug)]
struct Replacement<T> {
    /// The value that it replaces. `None`: any.
    asked: Option<T>,
    got: T,
}

impl<T: Copy + PartialEq> Replacement<T> {
    fn of_any(got: T) -> Self {
        Self { asked: None, got }
    }

    fn of(asked: T, got: T) -> Self {
        let asked = Some(asked);
        Self { asked, got }
    }

    fn put_into(self, value: &mut T) {
        if self.asked.is_none_or(|asked| asked == *value) {
            *value = self.got;
        }
    }
}

impl ConfigLoader {
    /// Reads with these flags.
    pub fn new(flags: Flags, load: LoadConfig) -> Self {
        Self {
            flags,
            load,
            port: None,
            bind: None,
            tls_port: None,
        }
    }

    /// Sockets that the program was started with are in the place of `--port` and `--bind`, whatever these are.
    pub fn replace_address(&mut self, address: IpAddr, port: u16) {
        self.bind = Some(Replacement::of_any(address.into()));
        self.port = Some(Replacement::of_any(port));
    }

    /// Sockets that the program was started with are in the place of `--tls-port`, whatever it is.
    pub fn replace_tls_port(&mut self, port: u16) {
        self.tls_port = Some(Replacement::of_any(port));
    }

    /// `--port 0` has become this port.
    pub fn set_free_port(&mut self, port: u16) {
        self.port = Some(Replacement::of(0, port));
    }

    /// `--tls-port 0` has become this port.
    pub fn set_free_tls_port(&mut self, port: u16) {
        self.tls_port = Some(Replacement::of(0, port));
    }

    /// `--bind localhost` has become this address, the only one of its name.
    pub fn set_localhost(&mut self, address: IpAddr) {
        self.bind = Some(Replacement::of(BindAddress::Localhost, address.into()));
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = (self.load)(&self.flags)?;
        self.put_addresses_into(&mut config);
        Ok(config)
    }

    /// Puts the addresses of the sockets into a configuration.
    pub fn put_addresses_into(&self, config: &mut Config) {
        if let Some(port) = self.port {
            port.put_into(&mut config.port);
        }
        if let Some(bind) = self.bind {
            bind.put_into(&mut config.bind);
        }
        if let Some(tls) = &mut config.tls {
            tls.bind = config.bind;
            if let (Some(replacement), Some(port)) = (self.tls_port, &mut tls.port) {
                replacement.put_into(port);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn loader(flags: &[(&'static str, &str)]) -> ConfigLoader {
        let given = flags.iter().map(|(name, value)| (*name, (*value).into()));
        let origin = ("origin", "http://origin.test".into());
        let flags = given.chain([origin]).collect();
        ConfigLoader::new(flags, Config::from_flags)
    }

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn any_free_port_is_the_one_that_was_got() {
        for (port, tls_port, expected) in [("0", "0", (4000, 4001)), ("1", "2", (1, 2))] {
            let mut loader = loader(&[("port", port), ("tls", "true"), ("tls-port", tls_port)]);
            loader.set_free_port(4000);
            loader.set_free_tls_port(4001);
            let config = loader.load().unwrap();
            let tls_port = config.tls.and_then(|tls| tls.port).unwrap();
            assert_eq!((config.port, tls_port), expected);
        }
    }

    #[test]
    fn localhost_is_the_only_address_of_its_name() {
        for (bind, expected) in [("localhost", ADDRESS), ("::1", "::1".parse().unwrap())] {
            let mut loader = loader(&[("bind", bind), ("tls", "true")]);
            loader.set_localhost(ADDRESS);
            let config = loader.load().unwrap();
            assert_eq!(config.bind, expected.into());
            assert_eq!(config.tls.unwrap().bind, expected.into());
        }
    }

    #[test]
    fn inherited_sockets_are_in_the_place_of_any_port() {
        let mut loader = loader(&[("tls", "true"), ("tls-port", "1")]);
        loader.replace_address(ADDRESS, 4000);
        loader.replace_tls_port(4001);
        let config = loader.load().unwrap();
        assert_eq!((config.port, config.bind), (4000, ADDRESS.into()));
        let tls = config.tls.unwrap();
        assert_eq!((tls.port, tls.bind), (Some(4001), ADDRESS.into()));
    }

    #[test]
    fn a_port_for_tls_is_not_put_where_there_is_none() {
        for flags in [&[][..], &[("tls", "true")]] {
            let mut loader = loader(flags);
            loader.replace_tls_port(4001);
            let tls = loader.load().unwrap().tls;
            assert_eq!(tls.and_then(|tls| tls.port), None);
        }
    }
}
