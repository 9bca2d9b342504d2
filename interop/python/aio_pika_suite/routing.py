"""Which queues a message reaches, for every type of exchange."""

from harness import check, same

from .broker import drain, publish


async def routes(channel, exchange, queues, cases):
    """Publish each (routing key, headers) of `cases` and compare the names of the queues it reached.

    `queues` maps a name that tells something to the queue.
    """
    for (key, headers), want in cases:
        await publish(channel, exchange, key, b"x", headers=headers)
        got = {title: len(await drain(queue)) for title, queue in queues.items()}
        same({title: copies for title, copies in got.items() if copies},
             {title: 1 for title in want}, f"copies for key {key!r}, headers {headers}")


@check
async def the_default_exchange_routes_by_queue_name(broker):
    channel = await broker.channel()
    queues = {"one": await broker.queue(channel), "two": await broker.queue(channel)}
    await routes(channel, "", queues, [
        ((queues["one"].name, None), ["one"]),
        ((queues["two"].name, None), ["two"]),
        ((broker.queue_name(), None), []),
    ])


@check
async def a_direct_exchange_compares_keys(broker):
    channel = await broker.channel()
    exchange = await broker.exchange(channel, "direct")
    queues = {}
    for title, keys in {"red": ["red"], "warm": ["red", "orange"], "empty": [""]}.items():
        queues[title] = await broker.queue(channel)
        for key in keys:
            await queues[title].bind(exchange, key)
    await routes(channel, exchange.name, queues, [
        (("red", None), ["red", "warm"]),
        (("orange", None), ["warm"]),
        (("", None), ["empty"]),
        (("Red", None), []),
    ])


@check
async def a_fanout_exchange_reaches_every_queue_once(broker):
    channel = await broker.channel()
    exchange = await broker.exchange(channel, "fanout")
    queues = {"one": await broker.queue(channel), "two": await broker.queue(channel)}
    await queues["one"].bind(exchange, "a")
    await queues["one"].bind(exchange, "b")
    await queues["two"].bind(exchange)
    await routes(channel, exchange.name, queues, [
        (("a", None), ["one", "two"]),
        (("zorp", None), ["one", "two"]),
    ])


@check
async def a_topic_exchange_matches_words(broker):
    channel = await broker.channel()
    exchange = await broker.exchange(channel, "topic")
    queues = {}
    for pattern in ("stock.*.nyse", "stock.#", "#", "*", "#.nyse", "a*"):
        queues[pattern] = await broker.queue(channel)
        await queues[pattern].bind(exchange, pattern)
    await routes(channel, exchange.name, queues, [
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
async def a_headers_exchange_compares_headers(broker):
    channel = await broker.channel()
    exchange = await broker.exchange(channel, "headers")
    queues = {}
    bindings = {
        "all": {"x-match": "all", "format": "pdf", "pages": 3},
        "any": {"x-match": "any", "format": "pdf", "pages": 3},
        "present": {"format": None},
        "everything": {"x-match": "all"},
        "nothing": {"x-match": "any"},
    }
    for title, arguments in bindings.items():
        queues[title] = await broker.queue(channel)
        await queues[title].bind(exchange, "", arguments=arguments)
    await routes(channel, exchange.name, queues, [
        (("", {"format": "pdf", "pages": 3, "more": True}), ["all", "any", "present", "everything"]),
        (("", {"format": "pdf"}), ["any", "present", "everything"]),
        (("", {"format": "txt", "pages": "3"}), ["present", "everything"]),
        (("", None), ["everything"]),
    ])


@check
async def a_queue_gets_one_copy_however_many_bindings_match(broker):
    channel = await broker.channel()
    exchange = await broker.exchange(channel, "topic")
    queue = await broker.queue(channel)
    for pattern in ("#", "a.*", "a.b"):
        await queue.bind(exchange, pattern)
    await routes(channel, exchange.name, {"one": queue}, [(("a.b", None), ["one"])])


@check
async def an_unbound_queue_gets_no_more(broker):
    channel = await broker.channel()
    exchange = await broker.exchange(channel, "direct")
    queue = await broker.queue(channel)
    await queue.bind(exchange, "a")
    await queue.bind(exchange, "b")
    await queue.unbind(exchange, "a")
    await routes(channel, exchange.name, {"one": queue}, [(("a", None), []), (("b", None), ["one"])])
    await queue.unbind(exchange, "never bound")


@check
async def exchanges_route_to_exchanges(broker):
    channel = await broker.channel()
    source, target = await broker.exchange(channel, "topic"), await broker.exchange(channel, "fanout")
    queue = await broker.queue(channel)
    await queue.bind(target)
    await target.bind(source, "go.#")
    await routes(channel, source.name, {"one": queue}, [(("go.on", None), ["one"]), (("stop", None), [])])
    await target.unbind(source, "go.#")
    await routes(channel, source.name, {"one": queue}, [(("go.on", None), [])])


@check
async def an_alternate_exchange_takes_what_nobody_wants(broker):
    channel = await broker.channel()
    alternate = await broker.exchange(channel, "fanout")
    exchange = await broker.exchange(channel, "direct", arguments={"alternate-exchange": alternate.name})
    queues = {"wanted": await broker.queue(channel), "rest": await broker.queue(channel)}
    await queues["wanted"].bind(exchange, "wanted")
    await queues["rest"].bind(alternate)
    await routes(channel, exchange.name, queues, [
        (("wanted", None), ["wanted"]),
        (("other", None), ["rest"]),
    ])
