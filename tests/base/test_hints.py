from IPython.core.interactiveshell import InteractiveShell

from labutils.base.hints import _explain


def test_missing_name_gets_a_remedy(capsys):
    shell = InteractiveShell()
    shell.set_custom_exc((NameError,), _explain)
    result = shell.run_cell("digits.test")
    assert isinstance(result.error_in_exec, NameError)
    shown = capsys.readouterr().out
    assert "name 'digits' is not defined" in shown
    assert "Run All Above Selected Cell" in shown
    assert shell.run_cell("1 / 0").error_in_exec.args == ("division by zero",)
