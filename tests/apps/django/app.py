"""A Django project in one file: the stock admin, and a page for each user. Arguments: a directory for the database, a port."""

import sys

from django.conf import settings

settings.configure(
    DEBUG=True,
    SECRET_KEY="a key for tests",
    ROOT_URLCONF=__name__,
    STATIC_URL="static/",
    LOGIN_URL="/admin/login/",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1] + "/db.sqlite3"}},
    # Fast, which is right for a test alone.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
)

import django

django.setup()

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import path


@login_required
def greeting(request):
    """Without a Cache-Control, and for the user alone: the session adds Vary: Cookie."""
    return HttpResponse(f"hello {request.user.username}")


urlpatterns = [path("admin/", admin.site.urls), path("greeting", greeting)]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    for name in ["ada", "grace"]:
        User.objects.create_superuser(name, password=f"password of {name}")
    call_command("runserver", f"127.0.0.1:{sys.argv[2]}", use_reloader=False)
