"""report.py MACHINE RECORDS DIRECTORY SECONDS FAILED: the table of scripts/bench, printed and kept as JSON and Markdown."""
import json
import re
import sys
import unicodedata

machine_file, records_file, directory, seconds, failed = sys.argv[1:6]


def shown(number):
    if number is None:
        return ""
    size = abs(number)
    if size >= 1000:
        return f"{number:,.0f}".replace(",", " ")
    return f"{number:.0f}" if size >= 100 else f"{number:.1f}" if size >= 10 else f"{number:.2f}"


def judge(budgets, measured, floor):
    """The budgets in words, and whether all of them are met; None where there is none."""
    words, met = [], None
    for budget in filter(None, budgets.split(";")):
        if budget == "-":
            continue
        kind, relation, limit = re.fullmatch(r"(ratio|value|added)([<>]=)([0-9.]+)", budget).groups()
        value = {"value": measured, "ratio": floor and measured / floor, "added": floor is not None and measured - floor}[kind]
        good = value <= float(limit) if relation == "<=" else value >= float(limit)
        met = good if met is None else met and good
        sign = {"<=": "≤", ">=": "≥"}[relation]
        words.append({"value": f"{sign} {limit}", "ratio": f"{sign} {limit} ×", "added": f"{sign} floor + {limit}"}[kind])
    return ", ".join(words), met


rows = []
for line in open(records_file, encoding="utf-8"):
    section, what, measured, unit, floor, floor_name, budgets, remark = line.rstrip("\n").split("\t")
    measured, floor = float(measured), None if floor == "-" else float(floor)
    words, met = judge(budgets, measured, floor)
    rows.append({
        "section": section, "what": what, "measured": measured, "unit": unit, "floor": floor,
        "floor_is": None if floor is None else floor_name, "ratio": measured / floor if floor else None,
        "budget": words or None, "met": met, "note": remark or None})

head = ["what", "measured", "floor", "ratio", "budget", ""]
table = [[
    row["what"], f"{shown(row['measured'])} {row['unit']}",
    "" if row["floor"] is None else f"{shown(row['floor'])} ({row['floor_is']})",
    "" if row["ratio"] is None else f"{row['ratio']:.2f} ×", row["budget"] or "",
    {True: "met", False: "MISSED", None: ""}[row["met"]]] for row in rows]


def width(text):
    return sum(0 if unicodedata.combining(letter) else 1 for letter in text)


widths = [max(width(line[column]) for line in [head] + table) for column in range(len(head))]


def aligned(line):
    return "| " + " | ".join(cell + " " * (widths[i] - width(cell)) for i, cell in enumerate(line)) + " |"


machine = dict(line.rstrip("\n").split("\t", 1) for line in open(machine_file, encoding="utf-8"))
text = [", ".join(f"{name}: {value}" for name, value in machine.items()), ""]
text += [aligned(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|"] + [aligned(line) for line in table]
remarks = [f"* {row['what']}: {row['note']}" for row in rows if row["note"]]
text += [""] + remarks
text += ["", f"{seconds} s" + (f"; FAILED: {failed}" if failed else "")]
print("\n" + "\n".join(text))
with open(f"{directory}/bench.md", "w", encoding="utf-8") as file:
    file.write("\n".join(text) + "\n")
with open(f"{directory}/bench.json", "w", encoding="utf-8") as file:
    json.dump({"machine": machine, "seconds": int(seconds), "failed": failed.split(), "figures": rows}, file,
              ensure_ascii=False, indent=2)
