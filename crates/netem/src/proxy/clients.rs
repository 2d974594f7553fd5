//! Who sends through the proxy: one socket towards the server for each.

use super::port::Port;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A client, as long as it is known. The place of one that has gone may go to another, with a later generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientId {
    place: u32,
    generation: u32,
}

#[cfg(test)]
impl ClientId {
    /// Nobody.
    pub(super) const NONE: Self = Self { place: u32::MAX, generation: 0 };
}

/// What is known of a client.
#[derive(Debug)]
pub(super) struct Client {
    /// Its own address.
    pub(super) addr: SocketAddr,
    /// Which of our addresses it sends to: answers come from there.
    pub(super) local_ip: Option<IpAddr>,
    /// The socket that the server sees it by.
    pub(super) port: Port,
    /// When something last came from it or for it.
    seen: Duration,
}

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    to: SocketAddr,
    max: usize,
    by_addr: HashMap<SocketAddr, ClientId>,
    places: Vec<Place>,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    client: Option<Client>,
}

impl Clients {
    pub(super) fn new(to: SocketAddr, max: usize) -> Self {
        Self { to, max, by_addr: HashMap::new(), places: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_addr.len()
    }

    /// The client at `addr`, seen at `now`. It is made if it is new, unless there are as many as there may be or the
    /// kernel gives no socket.
    pub(super) fn find(&mut self, addr: SocketAddr, local_ip: Option<IpAddr>, now: Duration) -> Option<ClientId> {
        if let Some(id) = self.by_addr.get(&addr).copied() {
            if let Some(client) = self.get_mut(id) {
                client.seen = now;
            }
            return Some(id);
        }
        if self.by_addr.len() >= self.max {
            return None;
        }
        let port = Port::towards(self.to).ok()?;
        let client = Client { addr, local_ip, port, seen: now };
        let free = self.places.iter().position(|place| place.client.is_none());
        let number = free.unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        let place = &mut self.places[number];
        place.client = Some(client);
        let place_number = u32::try_from(number).ok()?;
        let id = ClientId { place: place_number, generation: place.generation };
        self.by_addr.insert(addr, id);
        Some(id)
    }

    pub(super) fn get(&self, id: ClientId) -> Option<&Client> {
        let place = self.places.get(id.place as usize)?;
        place.client.as_ref().filter(|_| place.generation == id.generation)
    }

    fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        let place = self.places.get_mut(id.place as usize)?;
        place.client.as_mut().filter(|_| place.generation == id.generation)
    }

    /// Something came for `id` at `now`.
    pub(super) fn touch(&mut self, id: ClientId, now: Duration) {
        if let Some(client) = self.get_mut(id) {
            client.seen = now;
        }
    }

    /// All clients, in order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.places.iter().enumerate().filter_map(|(number, place)| {
            let id = ClientId { place: u32::try_from(number).ok()?, generation: place.generation };
            Some((id, place.client.as_ref()?))
        })
    }

    /// Forgets clients that have been silent for `idle`, both ways.
    pub(super) fn forget_idle(&mut self, now: Duration, idle: Duration) {
        for place in &mut self.places {
            let silent = place.client.take_if(|client| now.saturating_sub(client.seen) > idle);
            if let Some(client) = silent {
                place.generation = place.generation.wrapping_add(1);
                self.by_addr.remove(&client.addr);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn clients_are_bounded_and_forgotten() {
        let mut clients = Clients::new(addr(9), 2);
        let first = clients.find(addr(1), None, at(0)).unwrap();
        let second = clients.find(addr(2), None, at(0)).unwrap();
        assert_eq!(clients.find(addr(3), None, at(0)), None);
        assert_eq!(clients.find(addr(1), None, at(30)).unwrap(), first);
        clients.touch(second, at(20));
        clients.forget_idle(at(81), IDLE);
        assert!(clients.get(second).is_none() && clients.get(first).is_some());
        let third = clients.find(addr(3), None, at(81)).unwrap();
        assert_eq!(third.place, second.place);
        assert!(clients.get(second).is_none(), "packets for one that has gone go nowhere");
        assert_eq!((clients.len(), clients.iter().count()), (2, 2));
        assert_ne!(
            clients.get(first).unwrap().port.local_addr().unwrap(),
            clients.get(third).unwrap().port.local_addr().unwrap()
        );
    }
}
