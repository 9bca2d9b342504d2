"""Which queues a message reaches, for every type of exchange."""

from pika import BasicProperties

from harness import check, same

from .broker import drain


def routes(channel, exchange, queues, cases):
    """Publish each (routing key, headers) of `cases` and compare the names of the queues it reached.

    `queues` maps a name that tells something to the name of the queue.
    """
    channel.confirm_delivery()
    for (key, headers), want in cases:
        channel.basic_publish(exchange, key, b"x", BasicProperties(headers=headers))
        got = {title: len(drain(channel, queue)) for title, queue in queues.items()}
        same({title: copies for title, copies in got.items() if copies},
             {title: 1 for title in want}, f"copies for key {key!r}, headers {headers}")


@check
def the_default_exchange_routes_by_queue_name(broker):
    channel = broker.channel()
    queues = {"one": broker.queue(channel), "two": broker.queue(channel)}
    routes(channel, "", queues, [
        ((queues["one"], None), ["one"]),
        ((queues["two"], None), ["two"]),
        ((broker.queue_name(), None), []),
    ])


@check
def a_direct_exchange_compares_keys(broker):
    channel = broker.channel()
    exchange = broker.exchange(channel, "direct")
    queues = {}
    for title, keys in {"red": ["red"], "warm": ["red", "orange"], "empty": [""]}.items():
        queues[title] = broker.queue(channel)
        for key in keys:
            channel.queue_bind(queues[title], exchange, key)
    routes(channel, exchange, queues, [
        (("red", None), ["red", "warm"]),
        (("orange", None), ["warm"]),
        (("", None), ["empty"]),
        (("Red", None), []),
    ])


@check
def a_fanout_exchange_reaches_every_queue_once(broker):
    channel = broker.channel()
    exchange = broker.exchange(channel, "fanout")
    queues = {"one": broker.queue(channel), "two": broker.queue(channel)}
    channel.queue_bind(queues["one"], exchange, "a")
    channel.queue_bind(queues["one"], exchange, "b")
    channel.queue_bind(queues["two"], exchange)
    routes(channel, exchange, queues, [(("a", None), ["one", "two"]), (("zorp", None), ["one", "two"])])


@check
def a_topic_exchange_matches_words(broker):
    channel = broker.channel()
    exchange = broker.exchange(channel, "topic")
    queues = {}
    for pattern in ("stock.*.nyse", "stock.#", "#", "*", "#.nyse", "a*"):
        queues[pattern] = broker.queue(channel)
        channel.queue_bind(queues[pattern], exchange, pattern)
    routes(channel, exchange, queues, [
        (("stock.usd.nyse", None), ["stock.*.nyse", "stock.#", "#", "#.nyse"]),
        (("stock..nyse", None), ["stock.*.nyse", "stock.#", "#", "#.nyse"]),
        (("stock.nyse", None), ["stock.#", "#", "#.nyse"]),
        (("stock", None), ["stock.#", "#", "*"]),
        (("stocks.usd", None), ["#"]),
        (("nyse", None), ["#", "*", "#.nyse"]),
        (("a*", None), ["#", "*", "a*"]),
        (("", None), ["#"]),
    ])


@check
def a_headers_exchange_compares_headers(broker):
    channel = broker.channel()
    exchange = broker.exchange(channel, "headers")
    queues = {}
    bindings = {
        "all": {"x-match": "all", "format": "pdf", "pages": 3},
        "any": {"x-match": "any", "format": "pdf", "pages": 3},
        "present": {"format": None},
        "everything": {"x-match": "all"},
        "nothing": {"x-match": "any"},
    }
    for title, arguments in bindings.items():
        queues[title] = broker.queue(channel)
        channel.queue_bind(queues[title], exchange, "", arguments=arguments)
    routes(channel, exchange, queues, [
        (("", {"format": "pdf", "pages": 3, "more": True}), ["all", "any", "present", "everything"]),
        (("", {"format": "pdf"}), ["any", "present", "everything"]),
        (("", {"format": "txt", "pages": "3"}), ["present", "everything"]),
        (("", None), ["everything"]),
    ])


@check
def a_queue_gets_one_copy_however_many_bindings_match(broker):
    channel = broker.channel()
    exchange = broker.exchange(channel, "topic")
    queue = broker.queue(channel)
    for pattern in ("#", "a.*", "a.b"):
        channel.queue_bind(queue, exchange, pattern)
    routes(channel, exchange, {"one": queue}, [(("a.b", None), ["one"])])


@check
def an_unbound_queue_gets_no_more(broker):
    channel = broker.channel()
    exchange = broker.exchange(channel, "direct")
    queue = broker.queue(channel)
    channel.queue_bind(queue, exchange, "a")
    channel.queue_bind(queue, exchange, "b")
    channel.queue_unbind(queue, exchange, "a")
    routes(channel, exchange, {"one": queue}, [(("a", None), []), (("b", None), ["one"])])
    channel.queue_unbind(queue, exchange, "never bound")


@check
def exchanges_route_to_exchanges(broker):
    channel = broker.channel()
    source, target = broker.exchange(channel, "topic"), broker.exchange(channel, "fanout")
    queue = broker.queue(channel)
    channel.queue_bind(queue, target)
    channel.exchange_bind(target, source, "go.#")
    routes(channel, source, {"one": queue}, [(("go.on", None), ["one"]), (("stop", None), [])])
    channel.exchange_unbind(target, source, "go.#")
    routes(channel, source, {"one": queue}, [(("go.on", None), [])])


@check
def an_alternate_exchange_takes_what_nobody_wants(broker):
    channel = broker.channel()
    alternate = broker.exchange(channel, "fanout")
    exchange = broker.exchange(channel, "direct", arguments={"alternate-exchange": alternate})
    queues = {"wanted": broker.queue(channel), "rest": broker.queue(channel)}
    channel.queue_bind(queues["wanted"], exchange, "wanted")
    channel.queue_bind(queues["rest"], alternate)
    routes(channel, exchange, queues, [(("wanted", None), ["wanted"]), (("other", None), ["rest"])])
