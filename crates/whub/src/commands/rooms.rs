//! `whub rooms`: who is together with whom, sending members away and closing rooms.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value, json};

use crate::{
    commands::table::{table, time_of_day},
    exit::Failure,
    hub::HubArgs,
    output, runtime,
};

/// Show the rooms of a hub, send members away, or close a room
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Rooms {
    /// One room, with its members; all rooms if it is left out
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    room: Option<String>,

    /// Send this member away; repeat for more
    #[arg(long, value_name = "NUMBER", requires = "room")]
    kick: Vec<u32>,

    /// Close the room
    #[arg(long, requires = "room", conflicts_with = "kick")]
    close: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub rooms
  whub rooms lobby
  whub rooms lobby --kick 3 --kick 7
  whub rooms lobby --close
  whub rooms --json | jq '.rooms[] | select(.members == 0)'

All of it needs a token with `admin`. Rooms with no members are kept for a while (rooms.empty_ttl). SINCE is in UTC.";

impl Rooms {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            let Some(room) = &self.room else {
                let told = self.hub.get("/v1/rooms").await?;
                return self.show(&told, list);
            };
            let path = format!("/v1/rooms/{}", segment(room));
            if self.close {
                self.hub.delete(&path).await?;
                return self.done(&json!({ "room": room, "closed": true }), &format!("{room} was closed"));
            }
            for member in &self.kick {
                self.hub.delete(&format!("{path}/members/{member}")).await?;
                let text = format!("member {member} was sent away");
                self.done(&json!({ "room": room, "member": member, "kicked": true }), &text)?;
            }
            if self.kick.is_empty() {
                let told = self.hub.get(&path).await?;
                self.show(&told, whole)?;
            }
            Ok(())
        })
    }

    fn show(&self, told: &Value, for_people: fn(&Value) -> String) -> Result<(), Failure> {
        if self.json { output::print_json(told) } else { output::print(&for_people(told)) }
    }

    fn done(&self, told: &Value, text: &str) -> Result<(), Failure> {
        if self.json { output::print_json(told) } else { output::print(&format!("{text}\n")) }
    }
}

/// A name as one segment of a path.
fn segment(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let bytes = name
        .bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    bytes.collect()
}

fn list(told: &Value) -> String {
    let mut rows = vec![["ROOM", "MEMBERS", "CAPACITY", "SECRET", "LOCKED", "OWNER"].map(str::to_owned)];
    for room in told["rooms"].as_array().into_iter().flatten() {
        let number =
            |key: &str| room[key].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        let flag = |key: &str| if room[key] == true { "yes" } else { "no" }.to_owned();
        let name = room["room"].as_str().unwrap_or_default().to_owned();
        rows.push([
            name,
            number("members"),
            number("capacity"),
            flag("secret"),
            flag("locked"),
            number("owner"),
        ]);
    }
    if rows.len() == 1 {
        return "there are no rooms\n".to_owned();
    }
    table(&rows, [false, true, true, false, false, true])
}

fn whole(told: &Value) -> String {
    let mut rows = vec![["MEMBER", "ROLE", "CLIENT", "USER", "SINCE", "INFO"].map(str::to_owned)];
    for member in told["present"].as_array().into_iter().flatten() {
        let text = |key: &str| member[key].as_str().filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
        let number = member["member"].as_u64().unwrap_or(0).to_string();
        let since = time_of_day(member["since_ms"].as_u64().unwrap_or(0));
        rows.push([number, text("role"), text("client"), text("user"), since, text("info")]);
    }
    if rows.len() == 1 {
        return "nobody is in the room\n".to_owned();
    }
    table(&rows, [true, false, false, false, false, false])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_table() {
        let told = json!({ "rooms": [
            { "room": "lobby", "members": 2, "capacity": 8, "locked": true, "secret": false, "owner": 1 },
            { "room": "a b", "members": 0, "capacity": 256, "locked": false, "secret": true, "owner": null },
        ] });
        let expected = "ROOM   MEMBERS  CAPACITY  SECRET  LOCKED  OWNER\n\
                        lobby        2         8  no      yes         1\n\
                        a b          0       256  yes     no          -\n";
        assert_eq!(list(&told), expected);
    }

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(segment("a/b c-1"), "a%2Fb%20c-1");
    }
}
