from __future__ import annotations

from django import forms

from shop_demo.checkout import Buyer
from shop_demo.payments import TOKENS


class CheckoutForm(forms.Form):
    """Who the goods go to and how they are paid.

    ``seen`` is what the page showed, signed; ``submission`` is new with every form shown, so that one sent twice is
    recognised.
    """

    email = forms.EmailField(
        label="E-mail",
        help_text="So that we can reach you about the order.",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    name = forms.CharField(
        label="Name", max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name", "maxlength": 120})
    )
    address = forms.CharField(
        label="Address",
        max_length=500,
        help_text="Street, postcode, town and country.",
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "street-address"}),
    )
    token = forms.ChoiceField(
        label="Payment",
        choices=[(token.name, token.title) for token in TOKENS.values()],
        widget=forms.RadioSelect,
        initial="tok_success",
        error_messages={"required": "Choose one of the test cards.", "invalid_choice": "Choose one of the test cards."},
    )
    confirm_devices = forms.BooleanField(label="Go on with this cart", required=False)
    seen = forms.CharField(widget=forms.HiddenInput)
    submission = forms.UUIDField(widget=forms.HiddenInput)

    @property
    def buyer(self) -> Buyer:
        data = self.cleaned_data
        return Buyer(email=data["email"], name=data["name"], address=data["address"])
