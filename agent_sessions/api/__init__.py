"""The agents-protocol over HTTP: manifests, sessions, capabilities, audit artifacts and the human's link.

Include ``agent_sessions.urls`` at the root of the site, outside ``i18n_patterns``. Nothing here reads the host's
``REST_FRAMEWORK`` settings. docs/http.md is the reference.
"""
