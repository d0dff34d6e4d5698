"""The firewall in the browser: published services, the next change, the policy grid, rule files."""
