# SPDX-License-Identifier: GPL-2.0
"""The VM runner, with a QEMU made of shell: how it ends, and that nothing stays."""
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

from common import BIN, Case, folder, named_cases, read, run, write

# FAKE says what the machine does. It writes its own pid, to be looked for later.
FAKE_QEMU = '''#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
if [ "$1" = --version ]; then
	[ "$FAKE" != mute ] || exit 1
	echo "QEMU emulator version ${FAKE_VERSION:-11.1.3} (Debian)"
	exit
fi
echo $$ >> "$FAKE_DIR/pids"
echo "$*" >> "$FAKE_DIR/args"
while [ $# -gt 0 ]; do
	case $1 in
	-serial) if [ -z "$console" ]; then console=${2#file:}; else tests=${2#file:}; fi ;;
	-append) append=$2 ;;
	-accel) accel=$2 ;;
	esac
	shift
done
nonce=$(sed -n 's/.*testbed.nonce=\\([0-9a-f]*\\).*/\\1/p' <<< "$append")
down() { echo "{\\"event\\": \\"SHUTDOWN\\", \\"data\\": {\\"guest\\": true, \\"reason\\": \\"$1\\"}}"; }
boot() { echo "[    0.000000] Linux version 6.12.117 (x@y) #1" > "$console"; }
if [ "$accel" = kvm ] && [ "$FAKE" = kvm-hangs ]; then exec sleep 1000; fi
if [ "$accel" = kvm ] && [ "$FAKE" = kvm-refused ]; then
	echo "Could not access KVM kernel module: No such file or directory" >&2
	exit 1
fi
boot
case $FAKE in
exit | kvm-*) echo "@@ $nonce 1.00 exit" > "$tests"; down guest-shutdown ;;
poweroff) down guest-shutdown ;;
wrong-nonce) echo "@@ 0badbad0 1.00 exit" > "$tests"; down guest-shutdown ;;
reboot) down guest-reset ;;
panic) echo "[    1.0] Kernel panic - not syncing: x" >> "$console"; down guest-reset ;;
error) echo "qemu: invalid option" >&2; exit 1 ;;
silent) ;;
hang) exec sleep 1000 ;;
stubborn) trap '' TERM INT; while :; do sleep 0.1; done ;;
esac
'''


class Setting:
    def __init__(self, fake: str) -> None:
        self.temp = folder()
        self.path = self.temp.name
        for name in ('kernel', 'initrd'):
            write(os.path.join(self.path, name), '')
        self.env = {'QEMU': write(os.path.join(self.path, 'qemu'), FAKE_QEMU, 0o755),
                    'FAKE': fake, 'FAKE_DIR': self.path}

    def __enter__(self) -> 'Setting':
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.temp.cleanup()

    def command(self, limit: int = 20, out: str = 'out') -> list[str]:
        return [os.path.join(BIN, 'vm'), '--kernel', self.path + '/kernel', '--initrd', self.path + '/initrd',
                '--out', os.path.join(self.path, out), '--timeout', str(limit)]

    def run(self, limit: int = 20, **env: str) -> subprocess.CompletedProcess[str]:
        return run(*self.command(limit), env=dict(self.env, **env))

    def start(self, prefix: Iterable[str] = (), **keywords: Any) -> subprocess.Popen[bytes]:
        # A background job of a shell, as CI may be one, starts with SIGINT ignored.
        return subprocess.Popen(['env', '--default-signal=INT', *prefix, *self.command()], env=dict(os.environ, **self.env),
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **keywords)

    def end(self) -> dict[str, str]:
        return dict(line.split('=', 1) for line in read(self.path + '/out/end').split())

    def pids(self) -> list[int]:
        path = self.path + '/pids'
        return [int(w) for w in read(path).split()] if os.path.exists(path) else []

    def wait_for_machine(self) -> None:
        for _ in range(200):
            if self.pids() and os.path.exists(self.path + '/out/console.log') and read(self.path + '/out/console.log'):
                return
            time.sleep(0.05)
        raise AssertionError('the machine never started')

    def nothing_left(self, within: float = 8.0) -> None:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if not any(alive(pid) for pid in self.pids()):
                assert self.pids(), 'there was no machine'
                return
            time.sleep(0.05)
        raise AssertionError('a machine is left running')


def alive(pid: int) -> bool:
    try:
        return read(f'/proc/{pid}/stat').rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


def ends_as(fake: str, end: str, limit: int = 20) -> None:
    with Setting(fake) as setting:
        got = setting.run(limit)
        assert got.returncode == 0, got
        assert setting.end()['end'] == end, f"{setting.end()} {got.stderr}"
        setting.nothing_left()


def test_exit_line() -> None:
    ends_as('exit', 'exit-line')


def test_power_off_without_exit_line() -> None:
    ends_as('poweroff', 'poweroff')


def test_an_exit_line_of_another_boot_does_not_count() -> None:
    ends_as('wrong-nonce', 'poweroff')


def test_reboot() -> None:
    ends_as('reboot', 'reboot')


def test_panic() -> None:
    ends_as('panic', 'panic')


def test_qemu_error() -> None:
    ends_as('error', 'qemu-error')


def test_qemu_ends_without_a_word() -> None:
    ends_as('silent', 'qemu-error')


def test_hang_ends_at_the_limit() -> None:
    ends_as('hang', 'timeout', limit=1)


def test_hang_that_ignores_term_ends_too() -> None:
    ends_as('stubborn', 'timeout', limit=1)


def test_missing_qemu() -> None:
    with Setting('exit') as setting:
        got = setting.run(QEMU='no-such-qemu')
        assert got.returncode == 2 and 'no-such-qemu' in got.stderr and 'install' in got.stderr, got
        assert not os.path.exists(setting.path + '/out/end')


def check(fake: str = "exit", **env: str) -> subprocess.CompletedProcess[str]:
    with Setting(fake) as setting:
        got = run(os.path.join(BIN, 'vm'), '--check', env=dict(setting.env, **env))
        assert not setting.pids(), 'a machine was started'
        return got


def test_check_says_what_would_be_used() -> None:
    got = check()
    assert got.returncode == 0 and got.stdout == 'QEMU 11.1, tcg\n' and not got.stderr, got


def test_check_refuses_an_unknown_accelerator() -> None:
    got = check(ACCEL='foo')
    assert got.returncode == 2 and 'ACCEL=foo' in got.stderr and 'use tcg or kvm' in got.stderr, got


def test_check_names_a_missing_qemu() -> None:
    got = check(QEMU='no-such-qemu')
    assert got.returncode == 2 and 'no-such-qemu' in got.stderr and 'install' in got.stderr, got


def test_check_refuses_what_is_no_qemu() -> None:
    got = check('mute')
    assert got.returncode == 2 and 'which version' in got.stderr, got


def test_check_warns_of_an_old_qemu() -> None:
    got = check(FAKE_VERSION='7.2.22')
    assert got.returncode == 0 and 'is QEMU 7.2' in got.stderr, got


def test_missing_kernel() -> None:
    with Setting('exit') as setting:
        os.unlink(setting.path + '/kernel')
        got = setting.run()
        assert got.returncode == 2 and setting.path + '/kernel' in got.stderr, got


def test_an_old_result_does_not_survive() -> None:
    with Setting('exit') as setting:
        assert setting.run().returncode == 0
        write(setting.path + '/out/verdict.json', '{}')
        setting.run(FAKE='error')
        assert setting.end()['end'] == 'qemu-error'
        assert not os.path.exists(setting.path + '/out/verdict.json')
        assert not os.path.exists(setting.path + '/out/tests.log') or 'exit' not in read(setting.path + '/out/tests.log')


def test_each_boot_has_its_own_nonce() -> None:
    with Setting('exit') as setting:
        setting.run()
        first = setting.end()['nonce']
        setting.run()
        assert len(first) == 16 and first != setting.end()['nonce']


def test_tcg_is_the_default() -> None:
    with Setting('exit') as setting:
        setting.run()
        assert setting.end()['accel'] == 'tcg'
        assert len(setting.pids()) == 1 and '-accel tcg' in read(setting.path + '/args')


def test_kvm_that_works_is_used() -> None:
    with Setting('kvm-works') as setting:
        got = setting.run(ACCEL='kvm')
        assert setting.end()['accel'] == 'kvm' and setting.end()['end'] == 'exit-line', got.stderr
        assert len(setting.pids()) == 2, 'no trial boot'


def test_kvm_that_hangs_falls_back_aloud() -> None:
    with Setting('kvm-hangs') as setting:
        got = setting.run(ACCEL='kvm', KVM_PROBE_SECONDS='1')
        assert setting.end()['accel'] == 'tcg' and setting.end()['end'] == 'exit-line', got.stderr
        assert 'falling back to tcg' in got.stderr
        setting.nothing_left()
        assert not [n for n in os.listdir(setting.path + '/out') if n.startswith('probe')]


def test_kvm_that_is_refused_falls_back_aloud() -> None:
    with Setting('kvm-refused') as setting:
        got = setting.run(ACCEL='kvm')
        assert setting.end()['accel'] == 'tcg' and 'falling back' in got.stderr and 'KVM kernel module' in got.stderr, got


def test_an_unknown_accelerator_is_refused() -> None:
    with Setting('exit') as setting:
        got = setting.run(ACCEL='xen')
        assert got.returncode == 2 and 'xen' in got.stderr and not setting.pids(), got


def test_ctrl_c_leaves_nothing() -> None:
    with Setting('hang') as setting:
        # As a terminal does it: SIGINT to the whole foreground group.
        process = setting.start(start_new_session=True)
        setting.wait_for_machine()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(10) == 130
        setting.nothing_left()


def test_ctrl_c_leaves_nothing_of_a_stubborn_machine() -> None:
    with Setting('stubborn') as setting:
        process = setting.start(start_new_session=True)
        setting.wait_for_machine()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(15)
        setting.nothing_left()


def test_term_leaves_nothing() -> None:
    with Setting('hang') as setting:
        process = setting.start()
        setting.wait_for_machine()
        process.terminate()
        assert process.wait(10) == 143
        setting.nothing_left()


def test_a_killed_runner_leaves_nothing() -> None:
    with Setting('hang') as setting:
        process = setting.start()
        setting.wait_for_machine()
        process.kill()
        process.wait(10)
        setting.nothing_left()


def test_a_killed_parent_leaves_nothing() -> None:
    with Setting('hang') as setting:
        # The shell must not exec the runner, or it would be the runner that dies.
        process = setting.start(prefix=('bash', '-c', '"$@"; exit 7', 'bash'))
        setting.wait_for_machine()
        process.kill()
        process.wait(10)
        setting.nothing_left()


def test_two_machines_do_not_share_a_folder() -> None:
    with Setting('hang') as setting:
        process = setting.start()
        setting.wait_for_machine()
        got = setting.run(limit=1)
        assert got.returncode == 2 and 'another machine' in got.stderr, got
        process.terminate()
        process.wait(10)
        setting.nothing_left()


def test_two_machines_at_once_in_their_own_folders() -> None:
    with Setting('exit') as setting:
        both = [subprocess.Popen(setting.command(out=name), env=dict(os.environ, **setting.env)) for name in ('a', 'b')]
        assert [p.wait(20) for p in both] == [0, 0]
        ends = [read(os.path.join(setting.path, name, 'end')) for name in ('a', 'b')]
        assert all('end=exit-line' in e for e in ends) and ends[0] != ends[1], ends


def cases() -> list[Case]:
    return named_cases(sys.modules[__name__], 'vm')
