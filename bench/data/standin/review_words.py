"""The words and sentence patterns of the stand-in reviews.

A pattern's ``{slots}`` are filled from ``WORDS``; ``{same}`` takes an adjective of the opinion that the sentence as a
whole expresses, and ``{other}`` one of the contrary opinion. What turns an opinion round ("hardly", "wasn't", "failed",
"despite") is never a stop word, as stop words do not reach the network.
"""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


GOOD = _words(
    "brilliant moving gripping charming clever delightful superb tender witty graceful inspired captivating heartfelt "
    "elegant thrilling memorable convincing refreshing touching powerful stunning lively rewarding polished"
)

BAD = _words(
    "dull clumsy tedious shallow lifeless predictable awkward forgettable messy bland hollow pointless wooden dreary "
    "laughable sloppy boring unbearable silly confusing flat tiresome crude stale"
)

WORDS = {
    "part": _words(
        "acting plot script dialogue music camerawork editing pacing ending cast lighting humour story direction "
        "romance soundtrack scenery villain mystery finale"
    ),
    "film": _words("film movie picture production feature"),
    "degree": _words("truly really quite rather utterly thoroughly fairly simply remarkably consistently"),
    "genre": _words(
        "western comedy thriller drama musical documentary romance fantasy satire remake sequel biography cartoon "
        "melodrama caper adventure"
    ),
    "kin": _words("brother sister cousin neighbour uncle aunt flatmate colleague daughter son grandmother teacher"),
    "town": _words(
        "Lisbon Oslo Vienna Dublin Prague Lima Cairo Kyoto Boston Chicago Athens Geneva Naples Havana Toronto Seville "
        "Bergen Krakow Turin Leeds Bristol Bombay Sydney Nairobi"
    ),
    "season": _words("spring summer autumn winter weekend month week Friday Sunday Monday"),
    "name": _words(
        "Anna Bruno Clara David Elena Felix Greta Hugo Irene Jonas Karla Leon Marta Nils Olga Pedro Rosa Simon Tessa "
        "Victor Wanda Xavier Yusuf Zoe Amir Bella Cyril Dora Emil Fatima Gustav Helen Ivan Judith Kenji Laura"
    ),
    "job": _words(
        "farmer baker sailor teacher painter lawyer doctor nurse driver soldier writer singer dancer detective priest "
        "banker butcher carpenter waiter engineer pilot gardener widow student thief smuggler judge tailor fisherman "
        "clockmaker librarian photographer blacksmith reporter"
    ),
    "place": _words(
        "village harbour island desert forest castle factory hospital prison school market museum theatre station "
        "lighthouse farm hotel bakery cathedral mine circus library monastery valley border mountain"
    ),
    "thing": _words(
        "letter map diamond diary painting key violin photograph suitcase horse boat secret fortune recipe necklace "
        "pistol telescope dog book coin lantern ring mirror crown bicycle piano clock manuscript statue compass"
    ),
    "deed": _words(
        "finds steals loses hides buys sells inherits destroys repairs burns discovers forgets borrows paints smuggles "
        "follows carries returns breaks guards"
    ),
    "meet": _words("marries betrays rescues meets fights forgives hunts deceives helps teaches visits trusts"),
    "when": _words("tonight yesterday later eventually meanwhile afterwards suddenly soon finally"),
    "scene": _words(
        "scene chapter sequence montage flashback chase duel speech song dance dinner wedding funeral trial"
    ),
    "people": _words("critics friends colleagues neighbours posters magazines trailers newspapers viewers reviewers"),
    "shown": _words("was seemed felt looked proved remained"),
}

OPENINGS = (
    "I saw this {genre} with my {kin} in {town} last {season}.",
    "My {kin} rented this {genre} last {season}.",
    "We watched the {film} at a small theatre in {town}.",
    "This {genre} played in {town} for a whole {season}.",
)

PLOT = (
    "{name} is a {job} who {deed} a {thing} and {deed} a {thing}.",
    "It tells of {name}, a {job} from {town}, and of {name}, who {meet} a {job}.",
    "Near a {place} in {town} a {job} {deed} the {thing}.",
    "When {name} {deed} the {thing}, a {job} called {name} {meet} the {kin}.",
    "The {scene} near the {place} shows a {job} and a {thing}.",
    "{name} leaves the {place} and {when} {meet} {name} in {town}.",
    "There is a long {scene} about a {thing} near a {place}.",
    "A {job} {meet} the {job}, and the {thing} ends up near a {place}.",
)

PLAIN = (
    "The {part} {shown} {degree} {same}.",
    "The {part} {shown} {same}.",
    "What a {same} {film}!",
    "I thought the {part} {shown} {degree} {same}.",
)

# The opinion is the contrary of its adjective.
DENIED = (
    "The {part} {shown} hardly {other}.",
    "The {part} wasn't {other}.",
    "The {part} wasn't {degree} {other}.",
    "The {part} failed to be {other}.",
    "The {part} {shown} far from {other}.",
)

# Both opinions are there; the order of the words alone tells which one counts.
CONTRAST = (
    "Despite the {other} {part}, the {film} {shown} {same}.",
    "The {film} {shown} {same} despite the {other} {part}.",
    "I expected a {other} {film} and found a {same} {film}.",
    "I found a {same} {film} where I expected a {other} {film}.",
    "Whatever the {people} wrote of the {other} {part}, it {shown} {same}.",
    "It {shown} {same}, whatever the {people} wrote of the {other} {part}.",
)

VERDICT_OPENINGS = ("Overall: ", "In short: ", "My verdict: ", "All things considered: ")

CLOSINGS = (
    "",
    "",
    "My {kin} agreed.",
    "So said my {kin}.",
    "I wrote this in {town}.",
)
