"""Names of regions in their own languages, where ISO 3166-2 and GeoNames share none.

GeoNames has the English name of a first-level division, ISO that in the country's own language with translations into
others, English not among them. Most are joined by a form that both have; these are not.
"""

from __future__ import annotations

_LISTED = {
    "AT": "Niederösterreich=Lower Austria; Oberösterreich=Upper Austria",
    "BE": "Vlaams Gewest=Flanders",
    "CN": "Beijing Shi=Beijing; Nei Mongol Zizhiqu=Inner Mongolia; Shanxi Sheng=Shanxi; Xizang Zizhiqu=Tibet",
    "CZ": "Praha, Hlavní město=Prague; Středočeský kraj=Central Bohemia; Jihomoravský kraj=South Moravian; "
    "Moravskoslezský kraj=Moravskoslezský; Olomoucký kraj=Olomoucký; Pardubický kraj=Pardubický",
    "DE": "Niedersachsen=Lower Saxony; Nordrhein-Westfalen=North Rhine-Westphalia; Sachsen=Saxony; "
    "Sachsen-Anhalt=Saxony-Anhalt",
    "DK": "Hovedstaden=Capital Region; Midtjylland=Central Jutland; Nordjylland=North Denmark; Sjælland=Zealand; "
    "Syddanmark=South Denmark",
    "ES": "Asturias, Principado de=Asturias; Canarias=Canary Islands; Castilla y León=Castille and León; "
    "Castilla-La Mancha=Castille-La Mancha; Illes Balears [Islas Baleares]=Balearic Islands; "
    "Navarra, Comunidad Foral de=Navarre; País Vasco=Basque Country; Valenciana, Comunidad=Valencia",
    "FR": "Bretagne=Brittany; Centre-Val de Loire=Centre; Normandie=Normandy",
    "GR": "Anatolikí Makedonía kai Thráki=East Macedonia and Thrace; Dytikí Elláda=West Greece; Kríti=Crete; "
    "Dytikí Makedonía=West Macedonia; Ionía Nísia=Ionian Islands; Kentrikí Makedonía=Central Macedonia; "
    "Nótio Aigaío=South Aegean; Pelopónnisos=Peloponnese; Stereá Elláda=Central Greece; Thessalía=Thessaly; "
    "Vóreio Aigaío=North Aegean; Ágion Óros=Mount Athos",
    "ID": "Jawa Barat=West Java; Jawa Tengah=Central Java; Jawa Timur=East Java; Sumatera Utara=North Sumatra; "
    "Sumatera Barat=West Sumatra; Sumatera Selatan=South Sumatra; Sulawesi Selatan=South Sulawesi; "
    "Sulawesi Utara=North Sulawesi; Nusa Tenggara Timur=East Nusa Tenggara; Nusa Tenggara Barat=West Nusa Tenggara",
    "IT": "Marche=The Marches; Sicilia=Sicily; Toscana=Tuscany",
    "KR": "Chungcheongbuk-do=North Chungcheong; Sejong=Sejong-si; Seoul-teukbyeolsi=Seoul",
    "MX": "Ciudad de México=Mexico City",
    "NL": "Noord-Brabant=North Brabant; Noord-Holland=North Holland; Zuid-Holland=South Holland",
    "PL": "Dolnośląskie=Lower Silesia; Małopolskie=Lesser Poland; Podkarpackie=Subcarpathia; Podlaskie=Podlasie; "
    "Warmińsko-Mazurskie=Warmia-Masuria; Wielkopolskie=Greater Poland; Zachodniopomorskie=West Pomerania; "
    "Śląskie=Silesia",
    "PT": "Lisboa=Lisbon; Região Autónoma dos Açores=Azores",
    "RU": "Moskva=Moscow; Moskovskaya oblast'=Moscow Oblast; Sankt-Peterburg=St.-Petersburg; Primorskiy kray=Primorye; "
    "Kareliya, Respublika=Karelia; Murmanskaya oblast'=Murmansk; Saha, Respublika=Sakha; Altay, Respublika=Altai; "
    "Altayskiy kray=Altai Krai; Bashkortostan, Respublika=Bashkortostan Republic; "
    "Novosibirskaya oblast'=Novosibirsk Oblast; Chelyabinskaya oblast'=Chelyabinsk; Samarskaya oblast'=Samara Oblast; "
    "Yaroslavskaya oblast'=Yaroslavl Oblast; Nizhegorodskaya oblast'=Nizhny Novgorod Oblast; "
    "Omskaya oblast'=Omsk Oblast; Tomskaya oblast'=Tomsk Oblast; "
    ""
    "Vladimirskaya oblast'=Vladimir Oblast; "
    "Voronezhskaya oblast'=Voronezh Oblast; Kurskaya oblast'=Kursk Oblast",
    "UA": "Avtonomna Respublika Krym=Crimea; Lvivska oblast=Lviv; Odeska oblast=Odessa; "
    "Zakarpatska oblast=Transcarpathia; Volynska oblast=Volyn; Vinnytska oblast=Vinnytsia; "
    "Mykolaivska oblast=Mykolaiv; Chernivetska oblast=Chernivtsi",
}


def geonames_name(country: str, iso: str) -> str | None:
    """Return GeoNames' name of the division of ``country`` that ISO calls ``iso``; None if it is not listed."""
    return _BY_ISO.get((country, iso))


_BY_ISO = {
    (country, iso.strip()): name
    for country, listed in _LISTED.items()
    for iso, name in (" ".join(pair.split()).split("=") for pair in listed.split(";"))
}
