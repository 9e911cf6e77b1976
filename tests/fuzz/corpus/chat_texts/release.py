"""Doc."""
import re
REASONING_EFFORT_MAX = (
    "Most.\n"  # why
    'More.\n'
)
response_format_template: str = "F:\n{schema}"
TOOLS_TEMPLATE = """T {dsml_token}
{tool_schemas}
"""

def f(x):
    return f"{x}" + r'\d'
