"""Settings of a host whose admin is django-unfold's; tests.admin.test_unfold runs tests with them."""

from tests.settings import *  # noqa: F403 - all but what is said here
from tests.settings import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = ["unfold", *INSTALLED_APPS]
# Its pages need scripts that a strict policy refuses.
MIDDLEWARE = [one for one in MIDDLEWARE if one != "shop_demo.middleware.content_security_policy"]
