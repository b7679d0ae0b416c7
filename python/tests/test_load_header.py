"""The load of the node on responses of Python applications, and what becomes of their own."""

from asgi_serving import Server, ask, wait_until

FIELD = "endpoint-load-metrics"
FLAGS = ("--workers", "1", "--load-header", "orca", "--load-header-format", "text")


def test_responses_of_an_asgi_application_carry_the_load_of_the_node() -> None:
    with Server("reporting:app", *FLAGS) as server, server.connect() as client:
        value = wait_until(lambda: ask(client, "/").fields.get(FIELD, ""), "a report")
        assert value.startswith("TEXT rps_fractional="), value
        assert "application_utilization=" in value
        # The figure is made anew, and says that somebody asks.
        wait_until(
            lambda: ",eps=0.0000," in (now := ask(client, "/").fields[FIELD]) and now != value,
            "another figure",
        )


def test_a_report_of_the_application_stays_or_goes_as_configured() -> None:
    with Server("reporting:app", *FLAGS) as server, server.connect() as client:
        wait_until(lambda: ask(client, "/").fields.get(FIELD, ""), "a report")
        assert ask(client, "/own").fields[FIELD] == "TEXT eps=7"
    with Server("reporting:app", *FLAGS, "--load-header-app", "strip") as server:
        with server.connect() as client:
            wait_until(lambda: ask(client, "/own").fields.get(FIELD), "a report")
            assert ask(client, "/own").fields[FIELD].startswith("TEXT rps_fractional=")
    with Server("reporting:app", "--workers", "1", "--load-header-app", "strip") as server:
        with server.connect() as client:
            assert FIELD not in ask(client, "/own").fields


def test_without_the_flag_nothing_is_touched() -> None:
    with Server("reporting:app", "--workers", "1") as server, server.connect() as client:
        assert FIELD not in ask(client, "/").fields
        assert ask(client, "/own").fields[FIELD] == "TEXT eps=7"
