"""Options of clients' sockets (server/socket.h), as the kernel has them."""

import rawpg
from test_console import tag, until

KEEPALIVE = "02"  # /proc/net/tcp: the timer that is running; that of what is not acknowledged yet comes first


def timer(pooler, conn):
    """Of the pooler's end."""
    mine, theirs = (":%04X" % port for port in (conn.sock.getsockname()[1], pooler.address[1]))
    with open("/proc/net/tcp") as f:
        for line in f:
            here, there, _state, _queues, running = line.split()[1:6]
            if here.endswith(theirs) and there.endswith(mine):
                return running.split(":")[0]
    raise AssertionError("no such connection")


def test_keepalive_is_as_the_configuration_says(start_pooler):
    pooler = start_pooler()
    with rawpg.Conn(pooler.address, "console", "pgbouncer") as console, rawpg.Conn(pooler.address, "app", "p1") as before:
        until(lambda: timer(pooler, before) == KEEPALIVE)
        assert tag(console.q("SET tcp_keepalive = 0")) == "SET tcp_keepalive=0"
        with rawpg.Conn(pooler.address, "app", "p1") as after:
            assert after.value("SELECT 1") == "1"
            until(lambda: timer(pooler, after) == "00")
        assert tag(console.q("SET tcp_keepalive = 1")) == "SET tcp_keepalive=1"
        with rawpg.Conn(pooler.address, "app", "p1") as again:
            until(lambda: timer(pooler, again) == KEEPALIVE)
