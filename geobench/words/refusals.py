"""Refusals: answers that decline, in the languages in which models answer, and the messages of content filters."""

from __future__ import annotations

import re

_WORDS = (
    # English; a bare "sorry" is a refusal only at the start of what is no answer
    r"\bi(?:'|’)?m (?:very |so )?sorry\b|\bi am sorry\b|^\W*(?:sorry|apologies)\b|\bi apologi[sz]e\b",
    r"\brefus(?:e[sd]?|ing|al)\b|\bdeclin(?:e[sd]?|ing)\b",
    r"\b(?:can(?:no|'|’)?t|can not|won(?:'|’)?t|will not|unable to|not able to|not comfortable|not allowed to|must not)\s+"
    r"(?:help|assist|comply|fulfil\w*|respond|identify\w*|provide|determine|disclose|share|process)",
    r"content[_ -]?filter|content (?:management )?polic|usage polic|safety (?:polic|guideline|system)|responsibleai",
    # German, Dutch, Scandinavian, Finnish
    r"tut mir leid|entschuldig|kann\b.{0,60}\b(?:nicht|keine)\b.{0,40}\b(?:helfen|bestimmen|identifizieren|beantworten)",
    r"het spijt me|sorry, maar|kan .{0,40}niet .{0,30}(?:helpen|bepalen|identificeren)",
    r"\btyvärr\b|\bbeklager\b|\bdesværre\b|\bdessverre\b|\bvalitettavasti\b|\bolen pahoillani\b",
    # Romance languages
    r"désolée?\b|je ne (?:peux|suis pas en mesure)|\blo siento\b|\blamento\b|no puedo (?:ayudar|identificar|determinar)",
    r"\bdesculpe\b|\bsinto muito\b|não posso|não consigo|\bmi dispiace\b|non posso|\bîmi pare rău\b|nu (?:vă |te )?pot",
    # Slavic languages, Hungarian, Greek, Turkish
    r"przykro mi|przepraszam|nie mogę|извинит|простите|не могу|вибачте|не можу|omlouvám se|nemohu|prepáčte|žao mi je",
    r"sajnálom|elnézést|nem tudok segíteni|λυπάμαι|συγγνώμη|δεν μπορώ|üzgünüm|yardımcı olamam|maalesef",
    # Arabic, Persian, Hebrew, Hindi, Bengali, Urdu
    r"عذر|آسف|لا (?:أستطيع|يمكنني)|متأسف|متاسف|نمی.?توانم|מצטער|איני יכול|לא יכולה? ל|क्षमा|माफ़|नहीं कर सकत|দুঃখিত|معذرت",
    # Chinese, Japanese, Korean, Vietnamese, Indonesian, Thai
    r"抱歉|对不起|對不起|无法(?:确定|協助|协助|识别|提供|帮助)|無法|不能(?:协助|帮助|提供)|申し訳|すみません|できません|お手伝い",
    r"죄송|할 수 없습니다|도와드릴 수 없|\bxin lỗi\b|không thể|\bmaaf\b|tidak (?:dapat|bisa) membantu|ขออภัย|ขอโทษ|ไม่สามารถ",
)
_REFUSAL = re.compile("|".join(_WORDS), re.IGNORECASE | re.DOTALL)


def is_refusal(text: str) -> bool:
    """Return whether ``text``, in which no place is claimed, declines to answer.

    A parser asks this only of a text that it cannot read: with a place in it, an apology is manners.

    >>> is_refusal("Es tut mir leid, dabei kann ich nicht helfen."), is_refusal("A bridge over a river.")
    (True, False)
    """
    return _REFUSAL.search(text) is not None
