# SPDX-License-Identifier: GPL-2.0
"""Reads the splat policy and scans a kernel console against it.

A line of the console that the policy knows opens a report; its call trace gives
the fingerprint: the class and the first frames that are neither allocator nor
debugging nor locking code. With CONFIG_PRINTK_CALLER each line names its task or
CPU, so reports that two CPUs print at once stay apart.
"""
import configparser
import re
from collections.abc import Iterable
from pathlib import Path

STAMP = re.compile(r'^(?:<\d+>)?\[\s*(\d+\.\d+)\](?:\[\s*([TC]\d+)\])? ?')
FRAME = re.compile(r'^\s*(\? )?([A-Za-z_][\w.$]*)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[[^\]]+\])*(?: \([A-Z]+\))*\s*$')
RIP = re.compile(r'^(?:RIP: 0010:|pc : )([A-Za-z_][\w.$]*)\+0x')
# What may stand between the frames of one trace.
BETWEEN = re.compile(r'^\s*(</?[A-Z#0-9]+>$|RIP: |RSP: |Code: |[RE]?[A-Z0-9]{2,3}: ?[0-9a-f]{4}|ORIG_RAX|$)')
TRACE = re.compile(r'Call [Tt]race:')
BANNER = re.compile(r'Linux version \S+ \(')
SUFFIX = re.compile(r'\.(isra|constprop|part|cold|llvm|lto_priv)\b.*$')
FRAMES = 2
QUIET = 5.0     # a report ends where its task or CPU was silent for so many seconds
EXCERPT = 120


class PolicyError(Exception):
    pass


class Pattern:
    KEYS = {'match', 'example', 'fingerprint', 'after', 'traces'}

    def __init__(self, kind: str, name: str, section: configparser.SectionProxy) -> None:
        unknown = set(section) - self.KEYS
        if unknown:
            raise PolicyError(f'[{kind} {name}]: unknown word "{sorted(unknown)[0]}"')
        self.kind, self.name = kind, name
        self.match = re.compile(section['match'])
        self.fingerprint = section.get('fingerprint', 'trace')
        if self.fingerprint not in ('trace', 'match', 'none'):
            raise PolicyError(f'[{kind} {name}]: fingerprint is trace, match or none')
        self.after = section.get('after', '').split()
        self.traces = int(section.get('traces', '1'))
        self.example = section['example']
        if not self.match.search(self.example):
            raise PolicyError(f'[{kind} {name}]: its own example does not match')


class Allow:
    KEYS = {'match', 'splat', 'scenario', 'reason'}

    def __init__(self, name: str, section: configparser.SectionProxy) -> None:
        unknown = set(section) - self.KEYS
        if unknown:
            raise PolicyError(f'[allow {name}]: unknown word "{sorted(unknown)[0]}"')
        self.name = name
        self.reason = section.get('reason', '').strip()
        if not self.reason:
            raise PolicyError(f'[allow {name}]: has no reason; an exception without one is refused')
        self.splat = section['splat']
        self.match = re.compile(section['match'])
        self.scenario = section.get('scenario')

    def covers(self, report: 'Report', scenario: str | None) -> bool:
        return (report.name == self.splat and self.match.search(report.line) is not None
                and (self.scenario is None or self.scenario == scenario))


class Policy:
    def __init__(self, text: str) -> None:
        parser = configparser.ConfigParser(interpolation=None, delimiters=('=',),
                                           comment_prefixes=('#',), empty_lines_in_values=False)
        self.patterns: list[Pattern] = []
        self.allows: list[Allow] = []
        skip, title = None, ''
        try:
            parser.read_string(text)
            for title in parser.sections():
                kind, _, name = title.partition(' ')
                section = parser[title]
                if kind in ('splat', 'lost'):
                    self.patterns.append(Pattern(kind, name, section))
                elif kind == 'allow':
                    self.allows.append(Allow(name, section))
                elif title == 'frames':
                    skip = re.compile('|'.join(f'(?:{w})' for w in section['skip'].split()))
                else:
                    raise PolicyError(f'[{title}]: is neither splat, lost, allow nor frames')
        except KeyError as error:
            raise PolicyError(f'[{title}]: {error} is missing') from None
        except (configparser.Error, re.error, ValueError) as error:
            raise PolicyError(str(error)) from None
        # What says that the log is incomplete must not hide behind a wider splat.
        self.patterns.sort(key=lambda p: p.kind != 'lost')
        if skip is None:
            raise PolicyError('[frames] is missing')
        self.skip = skip
        names = [p.name for p in self.patterns]
        for name in [a for p in self.patterns for a in p.after] + [a.splat for a in self.allows]:
            if name not in names:
                raise PolicyError(f'there is no splat "{name}"')

    @classmethod
    def load(cls, path: str | Path) -> 'Policy':
        with open(path, encoding='utf-8') as file:
            return cls(file.read())


class Report:
    def __init__(self, pattern: Pattern, match: re.Match[str], line: str, section: str) -> None:
        groups = match.groupdict()
        what = re.sub(r'[^a-z0-9]+', '-', (groups.get('what') or '').lower()).strip('-')
        self.name = pattern.name
        self.cls = f'{pattern.name}-{what}' if what else pattern.name
        self.kind, self.how = pattern.kind, pattern.fingerprint
        self.func = (groups.get('func') or '').strip()
        self.line, self.section = line, section
        self.traces, self.last = pattern.traces, 0.0
        self.in_trace = self.seen_trace = False
        self.rip: str | None = None
        self.frames: list[str] = []
        self.excerpt, self.allowed = [line], ''

    def add(self, text: str) -> None:
        """One more line of the same task or CPU."""
        if len(self.excerpt) < EXCERPT:
            self.excerpt.append(text)
        rip = RIP.match(text)
        if rip and not self.seen_trace:
            self.rip = rip[1]
        if self.in_trace:
            frame = FRAME.match(text)
            if frame and not frame[1]:
                self.frames.append(frame[2])
            elif not frame and not BETWEEN.match(text) or text.strip() == '</TASK>':
                self.in_trace = False

    def start_trace(self) -> bool:
        """Takes the trace that begins here, if one is still due."""
        if self.traces <= 0:
            return False
        self.traces -= 1
        # The fingerprint is of the first one.
        self.in_trace, self.seen_trace = not self.seen_trace, True
        return True

    def fingerprint(self, skip: re.Pattern[str]) -> str:
        frames = [self.rip] if self.rip else []
        frames += [f for f in self.frames if f != self.rip]
        own = [n for n in (SUFFIX.sub('', f) for f in frames) if not skip.fullmatch(n)]
        if self.how == 'match' or not own:
            func = re.sub(r'\+0x[0-9a-f]+/0x[0-9a-f]+', '', self.func)
            own = [re.sub(r'\s+', '', func) or '?'] if self.how != 'none' else ['-']
        return f'{self.cls}@{"<".join(own[:FRAMES])}'


class Scan:
    """reports: all Report; sections: markers' state; boots, complete: of the console."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.boots, self.banner = 0, ''
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.complete = False


def scan(lines: Iterable[str], policy: Policy, nonce: str, scenario: str | None = None) -> Scan:
    out, section = Scan(), '(boot)'
    open_reports: dict[str, Report] = {}
    marker = re.compile(rf'testbed: {re.escape(nonce) if nonce else "[0-9a-f]+"} (boot|begin|end|exit)(?: (\S+))?')
    for raw in lines:
        stamp = STAMP.match(raw)
        text = raw[stamp.end():] if stamp else raw
        text = text.rstrip('\r\n')
        key = (stamp[2] if stamp else None) or ''
        found = marker.match(text)
        if found:
            word, name = found[1], found[2]
            if word == 'begin':
                section = name
                out.begun.append(name)
            elif word == 'end':
                section = '(between)'
                out.ended.append(name)
            elif word == 'boot':
                section = '(between)'
            else:
                section, out.complete = '(shutdown)', True
            continue
        if BANNER.match(text):
            out.boots += 1
            out.banner = out.banner or text
        current = open_reports.get(key)
        if current and stamp:
            if float(stamp[1]) - current.last > QUIET:
                del open_reports[key]
                current = None
            else:
                current.last = float(stamp[1])
        for pattern in policy.patterns:
            match = pattern.match.search(text)
            if not match:
                continue
            if TRACE.search(text) and current and current.start_trace():
                pass
            elif current and current.name in pattern.after and current.traces > 0:
                current.add(text)
            else:
                current = Report(pattern, match, text, section)
                current.last = float(stamp[1]) if stamp else 0.0
                out.reports.append(current)
                if pattern.fingerprint == 'none':
                    open_reports.pop(key, None)
                else:
                    open_reports[key] = current
                if TRACE.search(text):
                    current.start_trace()
            break
        else:
            if current:
                current.add(text)
                if '---[ end trace' in text:
                    del open_reports[key]
    for report in out.reports:
        for allow in policy.allows:
            if not report.allowed and allow.covers(report, scenario):
                report.allowed = f'{allow.name}: {allow.reason}'
    return out
