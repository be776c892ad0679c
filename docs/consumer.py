#!/usr/bin/env python3
"""Takes every event of a Hangtag feed, each once and in order, and prints it.

It subscribes to the CloudEvents of a tenant's shops by MQTT. The feed comes at least once, so events that are known by
their id are left out. The feed numbers events without gaps, so a number that does not follow shows that some were
missed, and those are asked for by HTTP. A new generation shows that central was restored from a backup: by HTTP is told
from where on the numbers stand for other events. What was taken is kept in a file: after a restart it goes on from there.

    consumer.py --tenant acme --broker localhost:1883 --http http://localhost:8080 --state feed.db

Needs paho-mqtt 1.6 or 2 (Debian: python3-paho-mqtt). Everything but `take` can stay as it is.
"""

import argparse
import json
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import paho.mqtt.client as mqtt

PAGE = 500
RETRY_S = 2


def take(store, event):
    """What is done with an event. It is called within the transaction that notes it as taken."""
    number = int(event["sequence"])
    print(store, number, event["id"], event["type"], event.get("time", "-"), flush=True)


class Feed:
    """What was taken, and what comes next."""

    def __init__(self, path, http, token=None):
        self.http = http.rstrip("/")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("CREATE TABLE IF NOT EXISTS taken (id TEXT PRIMARY KEY)")
        columns = "store TEXT PRIMARY KEY, generation TEXT, sequence INTEGER"
        self.db.execute(f"CREATE TABLE IF NOT EXISTS last ({columns})")

    def last(self, store):
        """The last place that is known, and in which generation it is one. Generations sort as texts."""
        row = self.db.execute("SELECT generation, sequence FROM last WHERE store = ?", (store,)).fetchone()
        return row or ("", 0)

    def go_on(self, store, generation, sequence):
        self.db.execute("INSERT OR REPLACE INTO last VALUES (?, ?, ?)", (store, generation, sequence))

    def stores(self):
        return [row[0] for row in self.db.execute("SELECT store FROM last ORDER BY store")]

    def is_taken(self, event):
        return self.db.execute("SELECT 1 FROM taken WHERE id = ?", (event["id"],)).fetchone() is not None

    def came(self, store, event):
        """An event came by MQTT."""
        number, (generation, last) = int(event["sequence"]), self.last(store)
        if event["generation"] > generation > "":
            print(f"{store}: a new generation, asking what is different in it", file=sys.stderr)
            self.fill(store)
        elif event["generation"] >= generation and number > last + 1:
            print(f"{store}: {last + 1} to {number - 1} did not come, asking for them", file=sys.stderr)
            self.fill(store)
        self.note(store, event)

    def note(self, store, event):
        """Takes an event unless it was taken, both or neither."""
        self.db.execute("BEGIN")
        try:
            new = self.db.execute("INSERT OR IGNORE INTO taken VALUES (?)", (event["id"],)).rowcount
            place = (event["generation"], int(event["sequence"]))
            if place > self.last(store):
                self.go_on(store, *place)
            if new:
                take(store, event)
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise

    def fill(self, store):
        """Takes everything by HTTP that follows on what was taken."""
        generation, last = self.last(store)
        question = {"store": store, "after": last, "limit": PAGE}
        if generation:
            question["generation"] = generation
        url = f"{self.http}/api/v1/events?{urllib.parse.urlencode(question)}"
        while url:
            try:
                request = urllib.request.Request(url, headers=self.headers)
                with urllib.request.urlopen(request, timeout=30) as answer:
                    events, link = json.load(answer), answer.headers.get("Link", "")
            except urllib.error.HTTPError as error:
                problem = error.read().decode()
                if error.code not in (409, 410):
                    raise RuntimeError(f"{url}: {error.code}: {problem}") from error
                # Central was restored (409), or has deleted what is so old (410), and says from where to go on. Known
                # events are left out by their ids.
                print(f"{store}: {problem}", file=sys.stderr)
                problem = json.loads(problem)
                self.go_on(store, problem["generation"], problem["after"])
                return self.fill(store)
            for event in events:
                self.note(store, event)
            path = link[1 : link.index(">")] if link.endswith('rel="next"') else None
            url = self.http + path if path else None
        return None


def client_of(arguments):
    """A client whose session the broker keeps while it is away."""
    name = arguments.client_id
    if hasattr(mqtt, "CallbackAPIVersion"):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, client_id=name, clean_session=False)
    else:
        client = mqtt.Client(client_id=name, clean_session=False)
    if arguments.user:
        with open(arguments.password_file, encoding="utf-8") as file:
            client.username_pw_set(arguments.user, file.readline().rstrip("\n"))
    client.reconnect_delay_set(1, 30)
    return client


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tenant", required=True, help="the chain, as central's configuration has it")
    parser.add_argument("--store", default="+", help="one shop (all of them)")
    parser.add_argument("--broker", default="localhost:1883", help="host and port (localhost:1883)")
    parser.add_argument("--http", required=True, help="where central's page is, such as http://localhost:8080")
    parser.add_argument("--token-file", help="the file whose first line is a token of the scope events, for central")
    parser.add_argument("--state", required=True, help="the file in which is kept what was taken")
    parser.add_argument("--client-id", default="hangtag-consumer", help="the session's name (hangtag-consumer)")
    parser.add_argument("--user", help="user at the broker")
    parser.add_argument("--password-file", help="the file whose first line is the password")
    arguments = parser.parse_args()
    token = None
    if arguments.token_file:
        with open(arguments.token_file, encoding="utf-8") as file:
            token = file.readline().rstrip("\n")
    feed = Feed(arguments.state, arguments.http, token)
    topic = f"hangtag/v1/{arguments.tenant}/feed/{arguments.store}/+"

    def connected(client, _data, _flags, code):
        if code == 0:
            client.subscribe(topic, qos=1)
        else:
            print(f"the broker refuses the connection: {mqtt.connack_string(code)}", file=sys.stderr)

    def subscribed(_client, _data, _mid, _qos):
        # What was missed before the session began, or while central or the broker lost it.
        stores = feed.stores() if arguments.store == "+" else [arguments.store]
        for store in stores:
            attempt(feed.fill, store)

    def message_came(_client, _data, message):
        store, kind = message.topic.split("/")[4:6]
        if kind != "epcis":
            attempt(feed.came, store, json.loads(message.payload))

    def attempt(what, *values):
        # The broker keeps what comes meanwhile.
        while True:
            try:
                return what(*values)
            except (OSError, RuntimeError) as error:
                print(f"cannot ask central, will try again: {error}", file=sys.stderr)
                time.sleep(RETRY_S)

    client = client_of(arguments)
    client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, message_came
    host, _, port = arguments.broker.rpartition(":")
    client.connect_async(host, int(port), keepalive=30)
    client.loop_forever(retry_first_connection=True)


if __name__ == "__main__":
    main()
