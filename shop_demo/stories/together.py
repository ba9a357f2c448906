"""Several agents for one person: at once, one after the other, in several shops."""

from __future__ import annotations

from agent_sessions import selectors
from shop_demo.stories.stage import Stage


def devices(stage: Stage) -> None:
    """Voice and phone shop for the same person at once: one checkout, confirmed for both, one order."""
    phone, voice = stage.agent("Phone", acts_for="anna"), stage.agent("Voice", acts_for="anna")
    phone.open("a teapot")
    phone.add(phone.find("celadon teapot"), 1)
    voice.open("a teapot")
    for one in voice.session("GET", "in-progress"):
        if one["session_id"] != voice.session_id:
            voice.tell(f"{one['agent_name']} has {', '.join(one['cart']['titles'])} in its cart already.")
    voice.add(voice.find("sencha"), 1)
    handover = phone.check_out()
    voice.try_to("check out at the same time", lambda: voice.call("checkout"))
    page = stage.pay(handover.url)
    stage.require(stage.orders(phone.session_id) == 0, "without a word from the other device nothing is paid")
    stage.tell(f"The page says: {page.heading}")
    asked = voice.session("GET", "confirmations")[0]
    voice.tell(f"Shall {asked['agent_name']} go ahead? Anna says yes.")
    voice.session("POST", f"confirmations/{asked['session_id']}", {"answer": "confirm"})
    stage.pay(handover.url)
    stage.require(stage.orders(phone.session_id, voice.session_id) == 1, "there is one order")
    stage.prove(phone.session_id, voice.session_id)


def specialist(stage: Stage) -> None:
    """A specialist agent takes the session over with the consumer's permission, and gives it back."""
    generalist, expert = stage.agent("Assistant"), stage.agent("Tea expert")
    generalist.open("something for a friend who drinks tea")
    generalist.add(generalist.find("celadon teapot"), 1)
    generalist.says("She likes it green and not too strong.", role="user")
    first = generalist.session_id
    code = stage.allow_transfer(first)
    expert.discover()
    expert.goes_on_with(expert.session("POST", "transfer", {"grant": code, "agent_name": expert.name}))
    expert.tell(f"I have the session now, with {expert.cart['cart_size']} piece in the cart.")
    generalist.try_to("go on as if nothing had happened", lambda: generalist.standing)
    again = stage.agent("Thief")
    again.discover()
    again.try_to("use the same code", lambda: again.session("POST", "transfer", {"grant": code}))
    known = expert.session("GET", "messages?q=green")["turns"]
    stage.require(len(known) == 1, "the expert knows what was said before")
    expert.add(expert.find("sencha"), 2)
    expert.session("PATCH", "state", {"conversation": {"summary": "Sencha, two packets: mild and green."}})
    second = expert.session_id
    back = stage.allow_transfer(second)
    generalist.token = ""
    generalist.goes_on_with(generalist.session("POST", "transfer", {"grant": back, "agent_name": generalist.name}))
    generalist.tell(f"I have it back, with {generalist.cart['cart_size']} pieces.")
    stage.pay(generalist.check_out().url)
    stage.require(stage.orders(first, second, generalist.session_id) == 1, "there is one order")
    stage.prove(first, second, generalist.session_id)


def two_merchants(stage: Stage) -> None:
    """One request leads to purchases at two merchants: two sessions, one id over both, and an auditor sees both."""
    sessions = []
    for merchant, words in (("fern-and-kiln", "celadon teapot"), ("leaf-and-cup", "sencha")):
        agent = stage.agent(f"Agent at {merchant}", acts_for="anna", merchant=merchant)
        agent.open("a present of two things", parent_request="present-for-ben")
        agent.add(agent.find(words), 1)
        stage.pay(agent.check_out().url)
        sessions.append(agent.session_id)
    listed = selectors.sessions_of_request("present-for-ben")
    for one in listed:
        stage.tell(f"The auditor: {one.merchant}, {one.status.value}.")
    ids = {str(one.session_id) for one in listed}
    stage.require(set(sessions) <= ids, "the auditor finds both sessions by the one request")
    stage.require(stage.orders(*sessions) == 2, "each merchant has one order")
    stage.prove(*sessions)
