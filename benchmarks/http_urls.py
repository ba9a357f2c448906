"""What the HTTP benchmark's server answers: the demo project, and an empty view to compare with."""

from __future__ import annotations

from typing import Any

from django.urls import include, path
from rest_framework.response import Response
from rest_framework.views import APIView


class Empty(APIView):
    """What Django REST framework costs when a view does nothing."""

    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Any) -> Response:
        request.data  # noqa: B018 - parsing the body is part of it
        return Response({"ok": True, "data": {}}, status=201)


urlpatterns = [path("empty", Empty.as_view()), path("", include("shop_demo.urls"))]
