"""Answers of language models, as they come: what each claims, or why it claims nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobench.words.claims import Claim
from geobench.words.parsers import PARSERS, Refusal, Unparseable, get_parser

pytestmark = pytest.mark.reliability("answers in words")
REFUSED, UNPARSEABLE = "refused", "unparseable"
PARIS = (48.8584, 2.2945)
RIO = (-22.9519, -43.2105)
OBJECT = '{"latitude": 48.8584, "longitude": 2.2945, "country": "France", "region": "Île-de-France", "city": "Paris", "confidence": 0.9}'
WHOLE = {"coordinates": PARIS, "country": "France", "region": "Île-de-France", "city": "Paris", "confidence": 0.9}
NAMES = {"country": "France", "city": "Paris"}

JSON = [
    (OBJECT, WHOLE),
    (f"```json\n{OBJECT}\n```", WHOLE),
    (f"```\n{OBJECT}\n```", WHOLE),
    (f"Here is my answer:\n\n{OBJECT}\n\nLet me know if you need more!", WHOLE),
    (f"Here you go:\n```json\n{OBJECT}\n```\nThe tower is unmistakable.", WHOLE),
    (f"<think>It could be {{Berlin}}.</think>{OBJECT}", WHOLE),
    (f"<think>\nThe tower.\n</think>\n\n<answer>{OBJECT}</answer>", WHOLE),
    (f"The tower says it all.</think>{OBJECT}", WHOLE),
    ('{"latitude": 48.8584, "longitude": 2.2945,}', {"coordinates": PARIS}),
    ("{'latitude': 48.8584, 'longitude': 2.2945, 'city': None}", {"coordinates": PARIS}),
    ('{"latitude": "48.8584", "longitude": "2.2945"}', {"coordinates": PARIS}),
    ('{"latitude": "48.8584° N", "longitude": "2.2945° E"}', {"coordinates": PARIS}),
    ('{"latitude": "22.9519 S", "longitude": "43.2105 W"}', {"coordinates": RIO}),
    ('{"latitude": "−22.9519", "longitude": "−43.2105"}', {"coordinates": RIO}),
    ('{"longitude": 2.2945, "latitude": 48.8584}', {"coordinates": PARIS}),
    ('{"lat": 48.8584, "lng": 2.2945}', {"coordinates": PARIS}),
    ('{"Latitude": 48.8584, "Longitude": 2.2945}', {"coordinates": PARIS}),
    ('{"coordinates": {"latitude": 48.8584, "longitude": 2.2945}, "city": "Paris"}', {"coordinates": PARIS, "city": "Paris"}),
    ('{"coordinates": "48.8584, 2.2945"}', {"coordinates": PARIS}),
    ('{"coordinates": [48.8584, 2.2945]}', {"coordinates": PARIS}),
    ('{"type": "Point", "coordinates": [2.2945, 48.8584]}', {"coordinates": PARIS}),
    ('{"guesses": [{"lat": 48.8584, "lon": 2.2945}, {"lat": 40.7, "lon": -74}]}', {"coordinates": PARIS}),
    ('[{"lat": 48.8584, "lon": 2.2945}, {"lat": 40.7, "lon": -74}]', {"coordinates": PARIS}),
    ('{"guess_1": {"country": "France", "city": null}, "guess_2": {"country": "Spain", "city": "Madrid"}}', {"country": "France"}),
    ('{"country": "France", "city": "Paris"}', NAMES),
    ('{"Country": "France", "State/Province": "Île-de-France"}', {"country": "France", "region": "Île-de-France"}),
    ('{"latitude": null, "longitude": null, "country": "France", "city": "Paris"}', NAMES),
    ('{"latitude": 0, "longitude": 0, "country": "France", "city": "Paris"}', NAMES),
    ('{"latitude": "Unknown", "longitude": "No GPS data available", "country": "USA", "city": "Unknown"}', {"country": "USA"}),
    ('{"country": "Likely France", "city": "Paris (possibly)"}', NAMES),
    ('{"country": "France", "city": "Unknown (perhaps Lyon)"}', {"country": "France"}),
    ('{"continent": "Europe", "country": null}', {"continent": "Europe"}),
    ('{"reasoning": {"country": "signs in French"}, "answer": {"country": "France", "city": "Paris"}}', NAMES),
    ('{"image_information": {"setting": "urban"}, "reverse_geocoding": {"confidence": "4", "address": {"street": null, "city": "Paris", "country": "France"}, "coordinates": {"latitude": "48.8584", "longitude": "2.2945"}}}', {"coordinates": PARIS, **NAMES}),
    ('{"address": "350 5th Ave, New York, NY, USA, 10118", "reasoning": "…"}', {"place": "350 5th Ave, New York, NY, USA, 10118"}),
    ('{"country": "United States", "city": "New York City", "neighborhood": "Manhattan", "exact_location_name": "Empire State Building"}', {"country": "United States", "city": "New York City", "place": "Empire State Building"}),
    ('{"latitude": 48.8584, "longitude": 2.2945, "confidence": "85%"}', {"coordinates": PARIS, "confidence": 0.85}),
    ('{"latitude": 48.8584, "longitude": 2.2945, "confidence": 85}', {"coordinates": PARIS}),
    ('{"latitude": 48.8584, "longitude": 2.2945, "confidence": "high"}', {"coordinates": PARIS}),
    ('The format is {"latitude": 1.5, "longitude": 2.5}. My answer: {"latitude": 48.8584, "longitude": 2.2945}', {"coordinates": PARIS}),
    ('{"latitude": 48.8584, "longitude": 2.2945} {"note": "sure"}', {"coordinates": PARIS}),
    ('{"latitude": 48.8584, "longitude": 2.2945, "reasoning": "I\'m sorry, I can\'t be certain."}', {"coordinates": PARIS}),
    ('{"国家": "法国", "城市": "巴黎"}', {"country": "法国", "city": "巴黎"}),
    ('{"latitude": 48.8', UNPARSEABLE),
    ('{"latitude": 48.8584, "longi', UNPARSEABLE),
    ('{"latitude": 48.8584, "longitude": 2.29', UNPARSEABLE),
    ('{"latitude": 48.8584, "longitude": 2.2945', UNPARSEABLE),
    ('```json\n{"latitude": 48.8584, "longitude": 2.2945,\n"country": "Fra', UNPARSEABLE),
    ('{"latitude": 1.5, "longitude": 2.5} Wait, no: {"latitude": 48.8584, "longi', UNPARSEABLE),
    ('{"latitude": 48.8584}', UNPARSEABLE),
    ('{"latitude": 48.8584, "longitude": null, "country": "France"}', UNPARSEABLE),
    ('{"latitude": 0.0, "longitude": 0.0}', UNPARSEABLE),
    ('{"latitude": 148.8584, "longitude": 2.2945}', UNPARSEABLE),
    ('{"latitude": 48.8584, "longitude": 182.2945, "country": "France"}', UNPARSEABLE),
    ('{"latitude": NaN, "longitude": NaN}', UNPARSEABLE),
    ('{"latitude": true, "longitude": false}', UNPARSEABLE),
    ('{"latitude": null, "longitude": null, "country": null}', UNPARSEABLE),
    ('{"country": "unknown", "city": "N/A"}', UNPARSEABLE),
    ("{}", UNPARSEABLE),
    ("[]", UNPARSEABLE),
    ("null", UNPARSEABLE),
    ('{"name": "a bridge"}', UNPARSEABLE),
    ("The photo shows a bridge.", UNPARSEABLE),
    ("48.8584, 2.2945", UNPARSEABLE),
    ("", UNPARSEABLE),
    ("  \n ", UNPARSEABLE),
    ("<think>The tower looks like the one in", UNPARSEABLE),
    (f"<think>{OBJECT}", UNPARSEABLE),
    (f"<think>{OBJECT}</think>", UNPARSEABLE),
    (f"<answer>{OBJECT}", UNPARSEABLE),
    ("<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>", UNPARSEABLE),
    (f"<html><body>{OBJECT}</body></html>", UNPARSEABLE),
    ("{" * 5000, UNPARSEABLE),
    ('{"a":' * 5000 + "1" + "}" * 5000, UNPARSEABLE),
    ('{"error": "I cannot assist with identifying locations."}', REFUSED),
    ('{"latitude": null, "longitude": null, "reasoning": "I\'m sorry, but I can\'t help with that."}', REFUSED),
    ("I'm sorry, but I can't assist with that request.", REFUSED),
    ("content_filter", REFUSED),
]  # fmt: skip

LAT_LON = [
    ("48.8584, 2.2945", PARIS),
    ("(48.8584, 2.2945)", PARIS),
    ("[48.8584, 2.2945]", PARIS),
    ("48.8584,2.2945", PARIS),
    ("48.8584 2.2945", PARIS),
    ("48.8584\n2.2945", PARIS),
    ("48.8584; 2.2945", PARIS),
    ("48.8584, 2.2945.", PARIS),
    ("**48.8584, 2.2945**", PARIS),
    ("`48.8584, 2.2945`", PARIS),
    ("```\n48.8584, 2.2945\n```", PARIS),
    ("<answer>(48.8584, 2.2945)</answer>", PARIS),
    ("<think>Not 40.7128, -74.0060.</think> 48.8584, 2.2945", PARIS),
    ("The coordinates are 48.8584, 2.2945.", PARIS),
    ("Coordinates: (48.8584, 2.2945)", PARIS),
    ("Latitude: 48.8584, Longitude: 2.2945", PARIS),
    ("**Latitude:** 48.8584° N\n**Longitude:** 2.2945° E", PARIS),
    ("- Latitude: 48.8584\n- Longitude: 2.2945", PARIS),
    ("longitude: 2.2945, latitude: 48.8584", PARIS),
    ("Lon 2.2945, Lat 48.8584", PARIS),
    ("Latitude 48.8584 and longitude 2.2945", PARIS),
    ("48.8584° N, 2.2945° E", PARIS),
    ("48.8584°N 2.2945°E", PARIS),
    ("2.2945° E, 48.8584° N", PARIS),
    ("N 48.8584, E 2.2945", PARIS),
    ("48.8584 North, 2.2945 East", PARIS),
    ("48,8584; 2,2945", PARIS),
    ("48,8584, 2,2945", PARIS),
    ("48,8584° N, 2,2945° E", PARIS),
    ("４８.８５８４，２.２９４５", PARIS),
    ("纬度：48.8584，经度：2.2945", PARIS),
    ("Широта: 48.8584, долгота: 2.2945", PARIS),
    ("Latitud: 48.8584, longitud: 2.2945", PARIS),
    ("Breitengrad: 48,8584, Längengrad: 2,2945", PARIS),
    ("-22.9519, -43.2105", RIO),
    ("−22.9519, −43.2105", RIO),
    ("22.9519° S, 43.2105° W", RIO),
    ("22°57'06.84\"S 43°12'37.8\"W", RIO),
    ("22° 57′ 6.84″ S, 43° 12′ 37.8″ W", RIO),
    ("I can't be sure, but my estimate is -22.9519, -43.2105", RIO),
    ("48.8584, 2.2945\n\n48.8584, 2.2945", PARIS),
    ('{"latitude": 48.8584, "longitude": 2.2945}', PARIS),
    ("48, 2", (48, 2)),
    ("0, 10", (0, 10)),
    ("48.8584, 2.2945 or 40.7128, -74.0060", UNPARSEABLE),
    ("0, 0", UNPARSEABLE),
    ("0.0000, 0.0000", UNPARSEABLE),
    ("(0°, 0°)", UNPARSEABLE),
    ("48.8584", UNPARSEABLE),
    ("48.8584,", UNPARSEABLE),
    ("48.8584, -", UNPARSEABLE),
    ("48.8584, 2.", UNPARSEABLE),
    ("The coordinates are 48.8584, 2.", UNPARSEABLE),
    ("Latitude: 48.8584, Longitude:", UNPARSEABLE),
    ("Latitude: 48.8584", UNPARSEABLE),
    ("148.8584, 2.2945", UNPARSEABLE),
    ("48.8584, 182.2945", UNPARSEABLE),
    ("latitude: 151.2, longitude: -33.8", UNPARSEABLE),
    ("-48.8584° N, 2.2945° E", UNPARSEABLE),
    ("12.5, 13.5, 14.5, 15.5", UNPARSEABLE),
    ("Paris, France", UNPARSEABLE),
    ("Taken in 2019, 20 people.", UNPARSEABLE),
    ("<html><head><title>504</title></head><body>48.8584, 2.2945</body></html>", UNPARSEABLE),
    ("", UNPARSEABLE),
    ("Unable to determine", REFUSED),
    ("- 48.8584, 2.2945", UNPARSEABLE),
    ("* 48.8584, 2.2945", PARIS),
    ("I'm sorry, I can't provide coordinates for this image.", REFUSED),
]  # fmt: skip

COUNTRY_CITY = [
    ("country: France\ncity: Paris", NAMES),
    ("Country: France\nCity: Paris", NAMES),
    ("country: [France]\ncity: [Paris]", NAMES),
    ("**Country:** France\n**City:** Paris", NAMES),
    ("**country**: France\n**city**: Paris", NAMES),
    ("- Country: France\n- City: Paris", NAMES),
    ("country: France, city: Paris", NAMES),
    ("country: France; city: Paris.", NAMES),
    ("city: Paris\ncountry: France", NAMES),
    ("country：France\ncity：Paris", NAMES),
    ("国家：法国\n城市：巴黎", {"country": "法国", "city": "巴黎"}),
    ("Land: Frankreich\nStadt: Paris", {"country": "Frankreich", "city": "Paris"}),
    ("<think>country: Spain\ncity: Madrid</think><answer>country: France\ncity: Paris</answer>", NAMES),
    ("<think>Signs in French.</think>\n<answer>\ncountry: France\ncity: Paris\n</answer>", NAMES),
    ("The signs are French.\ncountry: Spain\ncity: Madrid\nNo, better:\ncountry: France\ncity: Paris", NAMES),
    ('{"country": "France", "city": "Paris"}', NAMES),
    ("country: France\nstate: Île-de-France\ncity: Paris", {**NAMES, "region": "Île-de-France"}),
    ("country: France\ncity: Unknown", {"country": "France"}),
    ("country: France\ncity:", {"country": "France"}),
    ("country: unknown\ncity: Paris", {"city": "Paris"}),
    ("country: France", {"country": "France"}),
    ("country: Côte d'Ivoire\ncity: Abidjan", {"country": "Côte d'Ivoire", "city": "Abidjan"}),
    ("country: United States of America\ncity: Washington, D.C.", {"country": "United States of America", "city": "Washington, D.C."}),
    ("I'm sorry for the uncertainty.\ncountry: France\ncity: Paris", NAMES),
    ("country: [country name]\ncity: [city name]", UNPARSEABLE),
    ("country: Unknown\ncity: Unknown", UNPARSEABLE),
    ("country:\ncity:", UNPARSEABLE),
    ("Paris, France", UNPARSEABLE),
    ("<think>country: France\ncity: Paris", UNPARSEABLE),
    ("<think>country: France\ncity: Paris</think>", UNPARSEABLE),
    ("The countryside of a capacity: large", UNPARSEABLE),
    ("I cannot help identify where this photo was taken.", REFUSED),
]  # fmt: skip

FREE = [
    ("48.8584, 2.2945", {"coordinates": PARIS}),
    ("I believe this is the Eiffel Tower at 48.8584° N, 2.2945° E.", {"coordinates": PARIS}),
    ("It may be 40.7128, -74.0060. On reflection: 48.8584, 2.2945", {"coordinates": PARIS}),
    ("Final answer: 48.8584, 2.2945\n(The runner-up was 40.7128, -74.0060.)", {"coordinates": PARIS}),
    ("**Reverse Geocoding**\n\n* Address:\n\t+ City: Palo Alto\n\t+ State: California\n\t+ Country: USA\n* Coordinates:\n\t+ Latitude: 37.4447\n\t+ Longitude: -122.1690", {"coordinates": (37.4447, -122.169), "city": "Palo Alto", "region": "California", "country": "USA"}),
    (f"My answer is {OBJECT}", WHOLE),
    ("Sorry, I can't be sure, but it looks like Paris, France", {"place": "Paris, France"}),
    ("I'm sorry, I can't be certain. My best guess is Paris, France.", {"place": "Paris, France"}),
    ("I think it's Paris.", {"place": "Paris"}),
    ("I think this is Paris, France, because of the tower.", {"place": "Paris, France"}),
    ("I'd say Lisbon, Portugal.", {"place": "Lisbon, Portugal"}),
    ("This photo was taken in Rio de Janeiro, Brazil.", {"place": "Rio de Janeiro, Brazil"}),
    ("The image appears to be taken near Lyon, France.", {"place": "near Lyon, France"}),
    ("It is probably located in the city of Kyoto, Japan.", {"place": "Kyoto, Japan"}),
    ("This looks like the **Sagrada Família** in **Barcelona, Spain**.", {"place": "Sagrada Família, Barcelona, Spain"}),
    ("It could be Paris or Lyon.", {"place": "Paris"}),
    ("It looks like Madrid at first. However, my final answer is Lisbon, Portugal.", {"place": "Lisbon, Portugal"}),
    ("Answer: Tokyo, Japan", {"place": "Tokyo, Japan"}),
    ("**Final answer:** Tokyo, Japan", {"place": "Tokyo, Japan"}),
    ("Location: Cape Town, South Africa\nThe mountain gives it away.", {"place": "Cape Town, South Africa"}),
    ("The flat mountain gives it away.\n\nCape Town, South Africa", {"place": "Cape Town, South Africa"}),
    ("Paris, France", {"place": "Paris, France"}),
    ("Paris", {"place": "Paris"}),
    ("東京", {"place": "東京"}),
    ("Москва, Россия", {"place": "Москва, Россия"}),
    ("القاهرة، مصر", {"place": "القاهرة، مصر"}),
    ("答案：北京", {"place": "北京"}),
    ("Ich denke, das ist Wien, Österreich.", {"place": "Wien, Österreich"}),
    ("Il s'agit probablement de Marseille, France.", {"place": "Marseille, France"}),
    ("Parece ser Sevilla, España.", {"place": "Sevilla, España"}),
    ("Country: Japan", {"country": "Japan"}),
    ("It is not possible to say whether this was taken in Paris.", UNPARSEABLE),
    ("This was not taken in Paris.", UNPARSEABLE),
    ("A street with cars and a bridge over a river.", UNPARSEABLE),
    ("Unknown", UNPARSEABLE),
    ("unknown location", UNPARSEABLE),
    ("The photo could have been taken anywhere.", UNPARSEABLE),
    ("This is a quiet street in Porto, Portugal.", {"place": "Porto, Portugal"}),
    ("The temple has three tiers, so it is probably in Chiang Mai, Thailand.", {"place": "Chiang Mai, Thailand"}),
    ("The most likely location is Prague, Czech Republic.", {"place": "Prague, Czech Republic"}),
    ("Most likely: Prague", {"place": "Prague"}),
    ("My guess would be Prague.", {"place": "Prague"}),
    ("near Lyon, France", {"place": "near Lyon, France"}),
    ("8FW4V75V+8Q", {"place": "8FW4V75V+8Q"}),
    ("geo:48.8584,2.2945", {"coordinates": PARIS}),
    ("https://maps.example/@48.8584,2.2945,17z", {"coordinates": PARIS}),
    ("The location is 48.8, 2.3, in Paris.", {"coordinates": (48.8, 2.3)}),
    ("It looks nice here.", UNPARSEABLE),
    ("Taken on 12.05, 13.40 in the afternoon.", UNPARSEABLE),
    ("It costs 12.50, 13.20 with a drink.", UNPARSEABLE),
    ("Between 48.85-48.95, 2.2-2.4", UNPARSEABLE),
    ("<ANSWER>Paris, France</ANSWER>", {"place": "Paris, France"}),
    ("Paris, France</answer>", {"place": "Paris, France"}),
    ("Paris, " * 2500, UNPARSEABLE),
    ("It is " * 3000, UNPARSEABLE),
    ("A " * 9000, UNPARSEABLE),
    ("[" * 9000, UNPARSEABLE),
    ("48.85, " * 2500, UNPARSEABLE),
    ("country: " * 2000, UNPARSEABLE),
    ("Paris and " * 20000, UNPARSEABLE),
    ("0, 0", UNPARSEABLE),
    ("Sure!", UNPARSEABLE),
    ("Yes.", UNPARSEABLE),
    ("?", UNPARSEABLE),
    ("null", UNPARSEABLE),
    ('{"latitude": 48.8584, "longi', UNPARSEABLE),
    ("<!doctype html>\n<title>Paris, France</title>", UNPARSEABLE),
    ("<think>I think it's Paris.</think>", UNPARSEABLE),
    ("", UNPARSEABLE),
]  # fmt: skip

REFUSALS = [
    "I'm sorry, but I can't help with identifying the location of this photo.",
    "I can’t assist with that.",
    "I cannot determine the exact location from this image, and I won't guess.",
    "As an AI, I am not able to identify where private photos were taken.",
    "I must decline to answer.",
    "The response was filtered due to the prompt triggering the content management policy.",
    "This request violates our usage policies.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Ich kann den Standort dieses Fotos leider nicht bestimmen.",
    "Je suis désolé, mais je ne peux pas vous aider à identifier ce lieu.",
    "Lo siento, no puedo ayudar con eso.",
    "Desculpe, não posso ajudar com esse pedido.",
    "Mi dispiace, non posso aiutarti con questa richiesta.",
    "Het spijt me, maar ik kan je daar niet bij helpen.",
    "Przykro mi, ale nie mogę w tym pomóc.",
    "Извините, но я не могу помочь с этим запросом.",
    "Вибачте, я не можу допомогти з цим.",
    "Üzgünüm, bu konuda yardımcı olamam.",
    "عذراً، لا أستطيع المساعدة في ذلك.",
    "متأسفم، نمی‌توانم در این مورد کمک کنم.",
    "מצטער, אני לא יכול לעזור בזה.",
    "क्षमा करें, मैं इसमें मदद नहीं कर सकता।",
    "很抱歉，我无法确定这张照片的拍摄地点。",
    "抱歉，我不能协助您完成这个请求。",
    "申し訳ありませんが、その画像の場所を特定することはできません。",
    "죄송하지만 이 사진의 위치를 식별할 수 없습니다.",
    "Xin lỗi, tôi không thể giúp với yêu cầu này.",
    "Maaf, saya tidak dapat membantu permintaan ini.",
    "Tyvärr kan jag inte hjälpa till med det.",
    "Omlouvám se, ale s tím nemohu pomoci.",
    "Îmi pare rău, dar nu pot ajuta cu asta.",
    "Λυπάμαι, αλλά δεν μπορώ να βοηθήσω με αυτό.",
    "ขออภัย ฉันไม่สามารถช่วยเรื่องนี้ได้",
    "Sajnálom, de ebben nem tudok segíteni.",
    "Beklager, jeg kan ikke hjelpe med det.",
    "Valitettavasti en voi auttaa tässä.",
]


def _cases():
    for parser, table in (("json", JSON), ("lat-lon", LAT_LON), ("country-city", COUNTRY_CITY), ("free", FREE)):
        for answer, expected in table:
            yield pytest.param(parser, answer, expected, id=f"{parser}: {answer[:50]!a}")
    for refusal in REFUSALS:
        for parser in PARSERS:
            yield pytest.param(parser, refusal, REFUSED, id=f"{parser}: {refusal[:20]!a}")


@pytest.mark.parametrize(("parser", "answer", "expected"), list(_cases()))
def test_an_answer_is_what_it_says(parser, answer, expected):
    read = get_parser(parser)
    if expected == REFUSED:
        with pytest.raises(Refusal):
            read(answer)
    elif expected == UNPARSEABLE:
        with pytest.raises(Unparseable) as reason:
            read(answer)
        assert str(reason.value) and "\n" not in str(reason.value)
    else:
        wanted = Claim(coordinates=expected) if isinstance(expected, tuple) else Claim(**expected)
        found = read(answer)
        assert found.coordinates == pytest.approx(wanted.coordinates)
        assert replace(found, coordinates=None) == replace(wanted, coordinates=None)


NOTATIONS = (
    "{a:.4f}, {b:.4f}",
    "({a:.4f}, {b:.4f})",
    "The coordinates are {a:.4f}, {b:.4f}.",
    "**Latitude:** {a:.4f}°\n**Longitude:** {b:.4f}°",
    "longitude: {b:.4f}, latitude: {a:.4f}",
    "It is at {m:.4f}° {ns}, {n:.4f}° {ew}, I think.",
    "{n:.4f}{ew}, {m:.4f}{ns}",
)


@given(
    st.floats(-89.9, 89.9).filter(lambda value: abs(value) > 0.001),
    st.floats(-179.9, 179.9).filter(lambda value: abs(value) > 0.001),
    st.sampled_from(NOTATIONS),
    st.sampled_from(("lat-lon", "free")),
)
def test_a_position_in_any_notation_is_that_position(a, b, notation, parser):
    signs = {"m": abs(a), "n": abs(b), "ns": "NS"[a < 0], "ew": "EW"[b < 0]}
    text = notation.format(a=a, b=b, **signs)
    for written in (text, text.replace("-", "−"), f"<think>{-a:.4f}, {-b:.4f}</think>{text}"):
        assert get_parser(parser)(written).coordinates == pytest.approx((a, b), abs=6e-5)


@given(st.text(max_size=60), st.sampled_from(sorted(PARSERS)))
def test_any_text_is_a_claim_or_a_reason(text, parser):
    try:
        claim = get_parser(parser)(text)
    except (Refusal, Unparseable) as reason:
        assert str(reason)
    else:
        assert claim.level
